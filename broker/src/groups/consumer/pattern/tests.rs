//! What RE2 takes and refuses. The verdicts are those of com.google.re2j 1.8, which Apache Kafka uses.

use super::*;

fn check(pattern: &str, matching: &[&str], others: &[&str]) {
    let compiled = TopicPattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for name in matching {
        assert!(compiled.matches(name), "{pattern} and {name}: {compiled:?}");
    }
    for name in others {
        assert!(!compiled.matches(name), "{pattern} and {name}: {compiled:?}");
    }
}

#[test]
fn the_whole_name_must_match() {
    check("foo", &["foo"], &["foobar", "xfoo", ""]);
    check("foo|bar.*", &["foo", "bar", "barn"], &["foobar"]);
    check("a|b", &["a", "b"], &["ab"]);
    check("", &[""], &["a"]);
    check("(?i)FOO", &["foo", "Foo"], &["bar"]);
    check("(?P<x>a+)-(?:b|c)", &["aa-b"], &["aa-d"]);
    check("^a$", &["a"], &["ab"]);
    check(r"\Aa\z", &["a"], &[]);
}

#[test]
fn text_to_re2_is_text_here() {
    check(r"\Qa.b\E.", &["a.bc"], &["axbc"]);
    check(r"\Qa.b", &["a.b"], &["axb"]);
    check("[a&&b]+", &["a&b", "&&"], &["c"]);
    check("[a-c--]+", &["a-", "b"], &["d"]);
    check("[[a]+", &["[a"], &["b"]);
    check("[]a]+", &["]a"], &["b"]);
    check("[^]a]", &["b"], &["]", "a"]);
    check(r"[\w.-]+", &["a.b-c_9"], &["a b"]);
    check("[[:alpha:]_]+", &["a_b"], &["9"]);
    check("[a~~b]", &["~", "a"], &["c"]);
    check(r"\<a\>", &["<a>"], &["a"]);
    check("a{,2}", &["a{,2}"], &["aa"]);
    check("a{2}b{1,}c{0,1}", &["aab", "aabbc"], &["ab"]);
    check("a{x}]}", &["a{x}]}"], &[]);
    check(r"\x61\x{62}\143", &["abc"], &[]);
    check(r"\d+\pL\PN", &["12ab"], &["a"]);
    check(r"a\.b\-c\_d", &["a.b-c_d"], &["axb-c_d"]);
    check("[[:]+", &["[:"], &["a"]);
    check("a+?b*?c??", &["aab"], &["b"]);
    check("(?:(?:ab){0,3}){0,3}", &["ababab"], &["aba"]);
}

#[test]
fn what_re2_refuses_is_refused() {
    let refused = [
        "[",
        "(",
        ")",
        "a)(b",
        "*",
        "+a",
        "a**",
        "a+*",
        "a{2}{3}",
        "a{1001}",
        "a{2,1}",
        r"\1",
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?x)a",
        "(?>a)",
        r"\Z",
        r"\u0061",
        r"\",
        "[z-a]",
        r"[\b]",
        "[[:nope:]]",
        r"\p{Nope}",
        r"\h",
        r"\e",
        r"[a-\d]",
        r"\x6",
        r"\x{110000}",
        "(?P=n)",
        r"\C",
        r"\x{+1}",
        r"\x{61",
        "a???",
        "a*+",
    ];
    for pattern in refused {
        assert!(TopicPattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn none_grows_without_bound() {
    let long = "a".repeat(PATTERN_BYTES_MAX + 1);
    assert!(matches!(TopicPattern::new(&long), Err(PatternError::TooLong(_))));
    assert!(TopicPattern::new(&long[1..]).is_ok());
    assert!(matches!(
        TopicPattern::new("(?:(?:a{1000}){1000}){1000}"),
        Err(PatternError::Regex(_))
    ));
    let nested = format!("{}a{}", "(".repeat(2000), ")".repeat(2000));
    assert!(TopicPattern::new(&nested).is_err());
}
