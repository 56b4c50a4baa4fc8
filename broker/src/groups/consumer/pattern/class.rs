//! Classes of characters, and the escapes that they share with the rest of an expression.

use super::{LOOK_AHEAD, PatternError, Rewriter};

/// What can stand between `[:` and `:]`.
const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// What stands in a class.
enum Item {
    /// A character, which may begin or end a range.
    Character(char),
    /// Several, as they are written.
    Several(String),
}

impl Rewriter<'_> {
    /// After `[`. To RE2, `[`, `&&`, `--` and `~~` mean nothing in a class.
    pub(super) fn class(&mut self) -> Result<(), PatternError> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            let next = self.rest.next().ok_or_else(|| refused("a class without end"))?;
            if next == ']' && !is_first {
                self.out.push(']');
                return Ok(());
            }
            is_first = false;
            let low = match self.item(next)? {
                Item::Several(text) => {
                    self.out.push_str(&text);
                    continue;
                }
                Item::Character(low) => low,
            };
            self.in_class(low);
            let mut ahead = self.rest.clone();
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|it| *it != ']') {
                self.rest = ahead;
                let next = self.rest.next().expect("just peeked");
                let Item::Character(high) = self.item(next)? else {
                    return Err(refused("a range that ends in several characters"));
                };
                self.out.push('-');
                self.in_class(high);
            }
        }
    }

    fn item(&mut self, next: char) -> Result<Item, PatternError> {
        if next == '[' && self.rest.peek() == Some(&':') {
            let mut ahead = self.rest.clone();
            let mut name = String::from("[");
            while name.len() < LOOK_AHEAD
                && let Some(part) = ahead.next()
            {
                name.push(part);
                if name.len() > 3 && name.ends_with(":]") {
                    let bare = name[2..name.len() - 2].trim_start_matches('^');
                    if !NAMES.contains(&bare) {
                        return Err(refused(&name));
                    }
                    self.rest = ahead;
                    return Ok(Item::Several(name));
                }
            }
        }
        if next != '\\' {
            return Ok(Item::Character(next));
        }
        let written = std::mem::take(&mut self.out);
        let character = self.common_escape();
        let escaped = std::mem::replace(&mut self.out, written);
        Ok(match character? {
            Some(character) => Item::Character(character),
            None => Item::Several(escaped),
        })
    }

    fn in_class(&mut self, character: char) {
        if character.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    /// After `\`: what means the same inside and outside of classes. Returns the character, if it is one.
    pub(super) fn common_escape(&mut self) -> Result<Option<char>, PatternError> {
        let next = self.rest.next().ok_or_else(|| refused("a backslash at the end"))?;
        let character = match next {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.out.extend(['\\', next]);
                return Ok(None);
            }
            'p' | 'P' => {
                self.property(next)?;
                return Ok(None);
            }
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hexadecimal()?,
            '0'..='7' => self.octal(next)?,
            _ if next.is_ascii_punctuation() => next,
            _ => return Err(refused(&format!("\\{next}"))),
        };
        self.literal(character);
        Ok(Some(character))
    }

    /// After `\p`: one letter, or a name in braces.
    fn property(&mut self, kind: char) -> Result<(), PatternError> {
        self.out.extend(['\\', kind]);
        let next = self.rest.next().ok_or_else(|| refused("\\p at the end"))?;
        self.out.push(next);
        if next == '{' {
            loop {
                let next = self.rest.next().ok_or_else(|| refused("\\p{ without end"))?;
                self.out.push(next);
                if next == '}' {
                    break;
                }
            }
        }
        Ok(())
    }

    /// After `\x`: two digits, or some in braces.
    fn hexadecimal(&mut self) -> Result<char, PatternError> {
        let mut digits = String::new();
        let is_braced = self.rest.next_if_eq(&'{').is_some();
        while (is_braced || digits.len() < 2)
            && let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit)
        {
            digits.push(digit);
        }
        let is_whole =
            if is_braced { self.rest.next_if_eq(&'}').is_some() } else { digits.len() == 2 };
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_whole);
        code.and_then(char::from_u32).ok_or_else(|| refused(&format!("\\x{digits}")))
    }

    /// Up to three digits. A single one other than 0 would refer to a group, which RE2 cannot do.
    fn octal(&mut self, first: char) -> Result<char, PatternError> {
        let mut code = first.to_digit(8).expect("the caller has seen it");
        let mut digits = 1;
        while digits < 3
            && let Some(digit) = self.rest.peek().and_then(|it| it.to_digit(8))
        {
            self.rest.next();
            code = code * 8 + digit;
            digits += 1;
        }
        if digits == 1 && first != '0' {
            return Err(refused(&format!("\\{first}")));
        }
        char::from_u32(code).ok_or_else(|| refused(&format!("\\{first}")))
    }
}

fn refused(what: &str) -> PatternError {
    PatternError::Refused(what.to_owned())
}
