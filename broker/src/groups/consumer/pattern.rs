//! Regular expressions over topic names, in RE2's dialect (KIP-848). They must match a whole name.
//!
//! The crate `regex` comes from RE2 and matches in linear time too, but writes some things otherwise, and
//! reads as operators what is plain text to RE2 (`[a&&b]`, `\<`). An expression is therefore written anew
//! for it, piece by piece; what RE2 refuses is refused. How large it may grow is bounded.

mod class;

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// The longest expression. It stands in keys of the log, where 32,767 bytes is the most.
const PATTERN_BYTES_MAX: usize = 16_384;
/// What an expression may take once it is compiled, and the same again for its matcher's cache.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// RE2's bound of a counted repetition.
const REPEATS_MAX: u32 = 1000;
/// How far is looked for the end of a count, of the head of a group, of a class by name.
const LOOK_AHEAD: usize = 24;

/// Why something is not such an expression.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// It is longer than [`PATTERN_BYTES_MAX`].
    #[error("it has {0} bytes, of {PATTERN_BYTES_MAX} that it may have")]
    TooLong(usize),
    /// RE2 has no such thing.
    #[error("{0} is not understood")]
    Refused(String),
    /// The rest of the rules, and the bounds.
    #[error(transparent)]
    Regex(#[from] regex::Error),
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct TopicPattern(Regex);

impl TopicPattern {
    /// Compiles one.
    ///
    /// # Errors
    /// [`PatternError`].
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong(pattern.len()));
        }
        let mut rewriter = Rewriter { rest: pattern.chars().peekable(), out: String::new() };
        rewriter.expression()?;
        // By itself first: no parenthesis of the text may close the group around it.
        let compile = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
        };
        compile(&rewriter.out)?;
        Ok(Self(compile(&format!(r"\A(?:{})\z", rewriter.out))?))
    }

    /// Whether all of `name` matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Writes an expression anew.
struct Rewriter<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

impl Rewriter<'_> {
    fn expression(&mut self) -> Result<(), PatternError> {
        // Whether what stands before is a repetition: RE2 takes no second one, but a `?` for lazy.
        let mut is_repeated = false;
        while let Some(next) = self.rest.next() {
            let repeats = match next {
                '*' | '+' | '?' => true,
                '{' => self.repetition()?,
                _ => false,
            };
            if repeats {
                if is_repeated {
                    return Err(PatternError::Refused(format!("a second repetition {next:?}")));
                }
                if next != '{' {
                    self.out.push(next);
                }
                if self.rest.next_if_eq(&'?').is_some() {
                    self.out.push('?');
                }
                is_repeated = true;
                continue;
            }
            is_repeated = false;
            match next {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' | '}' | ']' => self.literal(next),
                _ => self.out.push(next),
            }
        }
        Ok(())
    }

    fn literal(&mut self, text: char) {
        self.out.push_str(&regex::escape(text.encode_utf8(&mut [0; 4])));
    }

    /// After `{`. What is no count is text.
    fn repetition(&mut self) -> Result<bool, PatternError> {
        let mut ahead = self.rest.clone();
        // Looking further would cost the square of the length, and no count is as long.
        let body: String = ahead.by_ref().take(LOOK_AHEAD).take_while(|it| *it != '}').collect();
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let (least, most) = body.split_once(',').unwrap_or((&body, ""));
        let is_closed = self.rest.clone().nth(body.chars().count()) == Some('}');
        if !is_closed || !is_number(least) || !(most.is_empty() || is_number(most)) {
            return Ok(false);
        }
        let is_too_many = |text: &str| text.parse::<u32>().map_or(true, |it| it > REPEATS_MAX);
        if is_too_many(least) || (!most.is_empty() && is_too_many(most)) {
            return Err(PatternError::Refused(format!("a repetition {{{body}}}")));
        }
        self.out.push('{');
        self.out.push_str(&body);
        self.out.push('}');
        self.rest = ahead;
        Ok(true)
    }

    /// After `(`.
    fn group(&mut self) -> Result<(), PatternError> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        let head: String = self
            .rest
            .clone()
            .take(LOOK_AHEAD)
            .take_while(|it| !matches!(it, ')' | ':' | '>'))
            .collect();
        let is_name = head.starts_with("P<") || head.starts_with('<');
        let is_flags = head.chars().all(|it| matches!(it, 'i' | 'm' | 's' | 'U' | '-'));
        if is_name || is_flags { Ok(()) } else { Err(PatternError::Refused(format!("(?{head}"))) }
    }

    /// After `\`, outside of a class.
    fn escape(&mut self) -> Result<(), PatternError> {
        match self.rest.peek() {
            Some('Q') => {
                self.rest.next();
                self.quotation();
            }
            Some(kind @ ('A' | 'b' | 'B' | 'z')) => {
                self.out.push('\\');
                self.out.push(*kind);
                self.rest.next();
            }
            _ => {
                self.common_escape()?;
            }
        }
        Ok(())
    }

    /// After `\Q`: text up to `\E` or the end.
    fn quotation(&mut self) {
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(next);
        }
    }
}

#[cfg(test)]
mod tests;
