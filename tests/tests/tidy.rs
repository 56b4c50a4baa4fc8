//! The house rules that a machine can check: shape of files, direction of crates, words that must
//! not stand, and that the documents tell the truth about the code.
//!
//! It reads the work tree and nothing else. A rule that annoys is changed here, in a commit that
//! says why.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its test module, inclusive.
const FILE_LINES_MAX: usize = 500;
/// Files that a request crosses, inclusive.
const WAY_FILES_MAX: usize = 6;
/// Lines of all files that a request crosses, without their tests, inclusive.
const WAY_LINES_MAX: usize = 2500;

/// Files that broke [`FILE_LINES_MAX`] when the rule was made. Shrinks only.
const LONG_FILES: &[&str] = &[];

/// Our crates, each with those of ours that it may use.
const CRATES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("storage", &["protocol"]),
    ("raft", &["protocol", "storage"]),
    ("broker", &["protocol", "storage", "raft"]),
    ("tests", &[]),
];

/// Crates of others that one of ours must not know.
const STRANGERS: &[(&str, &[&str])] = &[
    ("protocol", &["tokio", "openraft", "tracing", "metrics", "rustix"]),
    ("storage", &["tokio", "openraft", "kafka-protocol"]),
    ("raft", &["kafka-protocol"]),
    ("broker", &["openraft"]),
];

/// The only files with unsafe code.
const UNSAFE_FILES: &[&str] = &["storage/src/mmap.rs", "storage/src/os.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root").to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/"))
    }

    /// Lines before the test module.
    fn lines_without_tests(&self) -> usize {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]").count()
    }

    /// Numbered lines without what stands in comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line| str::split(line, "//").next().unwrap_or_default();
        (1..).zip(self.text.lines().map(code))
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// All Rust files of the workspace but this one, whose rules name what they forbid.
fn sources() -> Vec<Source> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders: Vec<_> = CRATES.iter().map(|(name, _)| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a crate's folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).expect("source in UTF-8");
                let path = path.strip_prefix(&root).expect("below the root");
                found.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    found.retain(|source| source.path != "tests/tests/tidy.rs");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with every offence of a rule, and says the rule.
fn assert_clean(rule: &str, offences: &[String]) {
    let mut list = String::new();
    for offence in offences {
        writeln!(list, "  {offence}").expect("a String takes all");
    }
    assert!(offences.is_empty(), "{rule}\n{list}");
}

fn check(rule: &str, offences: impl Fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() > 50, "the sources are found");
    let all: Vec<_> = sources.iter().flat_map(offences).collect();
    assert_clean(rule, &all);
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.lines_without_tests();
    let known = LONG_FILES.contains(&source.path.as_str());
    if lines > FILE_LINES_MAX && !known { vec![source.at(lines, "too long")] } else { vec![] }
}

#[test]
fn files_have_one_subject() {
    check("at most 500 lines without tests: find the seam", too_long);
    for path in LONG_FILES {
        let source = Source { path: (*path).to_owned(), text: read(path) };
        assert!(source.lines_without_tests() > FILE_LINES_MAX, "{path} is short now: unlist it");
    }
}

fn without_header(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { vec![] } else { vec![source.at(1, "no header")] }
}

#[test]
fn files_say_what_they_are() {
    check("every file opens with //!: what it is and what it must never do", without_header);
}

/// Words that no source may hold. Put together here, so that this file may be searched too.
fn forbidden_words() -> Vec<&'static str> {
    vec![
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ign", "ore"),
        concat!("too_many", "_lines"),
    ]
}

fn unfinished(source: &Source) -> Vec<String> {
    let lines = (1..).zip(source.text.lines());
    let found = lines.filter(|(_, text)| forbidden_words().iter().any(|word| text.contains(word)));
    found.map(|(line, text)| source.at(line, text.trim())).collect()
}

#[test]
fn nothing_is_left_undone() {
    check("no marks of unfinished work, no ignored test, no lifted limit", unfinished);
}

#[test]
fn modules_have_names() {
    check("foo.rs and foo/bar.rs, and no name that says nothing", |source| {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        let nameless = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "misc.rs"];
        if nameless.contains(&name) { vec![source.at(1, "no home")] } else { vec![] }
    });
}

fn unsafe_outside(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return vec![];
    }
    let words = [concat!("uns", "afe {"), concat!("uns", "afe fn"), concat!("uns", "afe impl")];
    let found = source.code().filter(|(_, code)| words.iter().any(|word| code.contains(word)));
    found.map(|(line, code)| source.at(line, code.trim())).collect()
}

#[test]
fn unsafe_code_has_two_homes() {
    check("only storage/src/{mmap,os}.rs hold it", unsafe_outside);
}

fn wire_codes_below_broker(source: &Source) -> Vec<String> {
    if !source.is_in("storage") && !source.is_in("raft") {
        return vec![];
    }
    let found = source.code().filter(|(_, code)| code.contains("ErrorCode::"));
    found.map(|(line, code)| source.at(line, code.trim())).collect()
}

#[test]
fn wire_codes_stay_in_the_broker() {
    check("storage and raft have errors of their own", wire_codes_below_broker);
}

/// The dependencies that a manifest names, in any of its tables.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_table = line.contains("dependencies");
        } else if in_table && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn crates_depend_in_one_direction() {
    let mut offences = Vec::new();
    for (name, allowed) in CRATES {
        let used = dependencies(&read(&format!("{name}/Cargo.toml")));
        assert!(!used.is_empty(), "{name}'s manifest is understood");
        let ours = CRATES.iter().map(|(other, _)| *other).filter(|other| used.contains(*other));
        let wrong = ours.filter(|other| !allowed.contains(other));
        offences.extend(wrong.map(|other| format!("{name} uses {other}")));
        let strangers = STRANGERS.iter().filter(|(of, _)| of == name).flat_map(|(_, list)| *list);
        let known = strangers.filter(|stranger| used.contains(**stranger));
        offences.extend(known.map(|stranger| format!("{name} uses {stranger}")));
    }
    assert_clean("protocol <- storage <- raft <- broker, and tests knows none", &offences);
}

fn crosses_the_line(source: &Source) -> Vec<String> {
    let Some((own, allowed)) = CRATES.iter().find(|(name, _)| source.is_in(name)) else {
        return vec![];
    };
    let foreign: Vec<_> = ["protocol", "storage", "raft", "broker"]
        .into_iter()
        .filter(|name| name != own && !allowed.contains(name))
        .collect();
    let uses = |code: &str| foreign.iter().any(|name| code.starts_with(&format!("use {name}::")));
    let found = source.code().filter(|(_, code)| uses(code.trim()));
    found.map(|(line, code)| source.at(line, code.trim())).collect()
}

#[test]
fn imports_follow_the_direction() {
    check("protocol <- storage <- raft <- broker", crosses_the_line);
}

/// `describe_topic_partitions` as `DescribeTopicPartitions`.
fn type_name(module: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    module.split('_').map(capital).collect()
}

#[test]
fn every_handler_is_reached_and_advertised() {
    let (dispatch, api) = (read("broker/src/dispatch.rs"), read("protocol/src/api.rs"));
    let mut offences = Vec::new();
    let mut handlers = 0;
    for entry in fs::read_dir(root().join("broker/src/handlers")).expect("the handlers") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() || !read_is_handler(&path) {
            continue;
        }
        handlers += 1;
        if !dispatch.contains(&format!("handlers::{name}::handle")) {
            offences.push(format!("{name} is not in dispatch.rs"));
        }
        if !api.contains(&format!("\"{}\"", type_name(&name))) {
            offences.push(format!("{name} is not in api.rs"));
        }
    }
    assert!(handlers > 10, "the handlers are found");
    assert_clean("a handler that nobody reaches is dead code", &offences);
}

/// Whether a file of the handlers answers a request, and is not what several of them share.
fn read_is_handler(path: &Path) -> bool {
    fs::read_to_string(path).expect("source in UTF-8").contains("fn handle(")
}

/// Everything between backticks that looks like a path of this repository.
fn paths_in(document: &str) -> Vec<String> {
    let folders: Vec<_> = CRATES.iter().map(|(name, _)| format!("{name}/")).collect();
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| folders.iter().any(|folder| text.starts_with(folder)));
    paths.filter(|text| !text.contains([' ', '*', '{', '<'])).map(str::to_owned).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut offences = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "tests/compat/README.md"] {
        for path in paths_in(&read(document)) {
            if !root().join(&path).exists() {
                offences.push(format!("{document} names {path}"));
            }
        }
    }
    assert_clean("a document tells of code that is there", &offences);
}

#[test]
fn a_request_crosses_few_files() {
    let architecture = read("ARCHITECTURE.md");
    let mut offences = Vec::new();
    for way in ["The way of a produce", "The way of a fetch", "The way of a metadata change"] {
        let section = architecture.split(way).nth(1).unwrap_or_else(|| panic!("no section {way}"));
        let list = section.split("\n\n").nth(1).expect("a paragraph with the list");
        let files = paths_in(list);
        let lines = |path: &String| {
            let source = Source { path: path.clone(), text: read(path) };
            source.lines_without_tests()
        };
        let all: usize = files.iter().map(lines).sum();
        assert!(files.len() > 3, "the list of {way} is found");
        if files.len() > WAY_FILES_MAX || all > WAY_LINES_MAX {
            offences.push(format!("{way}: {} files, {all} lines", files.len()));
        }
    }
    assert_clean("at most six files and 2,500 lines", &offences);
}

#[test]
fn the_readme_lists_every_option() {
    let (options, readme) = (read("broker/src/config/options.rs"), read("README.md"));
    let names = options.lines().filter_map(|line| line.trim().strip_prefix("name: \""));
    let names: Vec<_> = names.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 5, "the options are found");
    let missing = names.into_iter().filter(|name| !readme.contains(&format!("`--{name}")));
    assert_clean("README lists all flags", &missing.map(str::to_owned).collect::<Vec<_>>());
}

/// Each rule finds what it is for: without this, a rule that finds nothing would look kept.
#[test]
fn the_rules_can_be_broken() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let long = format!("//! x\n{}", "fn f() {}\n".repeat(FILE_LINES_MAX));
    assert_eq!(too_long(&source("raft/src/a.rs", &long)).len(), 1);
    let tested = format!("//! x\n#[cfg(test)]\n{long}");
    assert!(too_long(&source("raft/src/a.rs", &tested)).is_empty(), "tests do not count");
    assert_eq!(without_header(&source("raft/src/a.rs", "use x;\n")).len(), 1);
    for word in forbidden_words() {
        assert_eq!(unfinished(&source("raft/src/a.rs", word)).len(), 1, "{word}");
    }
    let wild = concat!("let x = uns", "afe { y };");
    assert_eq!(unsafe_outside(&source("raft/src/a.rs", wild)).len(), 1);
    assert!(unsafe_outside(&source("storage/src/os.rs", wild)).is_empty());
    let code = "return ErrorCode::None;";
    assert_eq!(wire_codes_below_broker(&source("storage/src/a.rs", code)).len(), 1);
    assert!(wire_codes_below_broker(&source("broker/src/a.rs", code)).is_empty());
    assert_eq!(crosses_the_line(&source("storage/src/a.rs", "use raft::x;")).len(), 1);
    assert_eq!(crosses_the_line(&source("tests/src/a.rs", "use protocol::x;")).len(), 1);
    assert!(crosses_the_line(&source("raft/src/a.rs", "use storage::x;")).is_empty());
    let manifest = "[package]\nname = \"x\"\n[dependencies]\ntokio.workspace = true\n";
    assert_eq!(dependencies(manifest), BTreeSet::from(["tokio".to_owned()]));
    assert_eq!(paths_in("see `broker/src/a.rs` and `x`"), ["broker/src/a.rs"]);
    assert_eq!(type_name("describe_log_dirs"), "DescribeLogDirs");
}
