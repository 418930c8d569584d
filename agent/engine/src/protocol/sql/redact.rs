//! The text of a statement without literals, comments and superfluous white space.

use super::token::{Kind, Token};
use crate::protocol::text::Upper;

/// Deepest nesting of parentheses in which lists are still shortened.
const MAX_DEPTH: usize = 64;

/// Text under construction. It never gets longer than the statement.
#[derive(Debug, Default)]
pub(super) struct Redacted {
    out: Vec<u8>,
    /// White space is due before the next token.
    is_spaced: bool,
    last: Last,
    /// What the last sign but one was, for signs of numbers.
    before_last: Last,
    parentheses: Vec<Parenthesis>,
    /// Where the first of the rows after `VALUES` ended, while only rows like it follow.
    row_end: Option<usize>,
    setting: Setting,
    /// What was hidden last.
    hidden: Option<Hidden>,
}

/// A word that was taken for a value, and is none if it turns out to be the name of a function or of the next setting.
#[derive(Debug)]
struct Hidden {
    at: usize,
    word: Vec<u8>,
    is_after_comma: bool,
}

/// Whether words are values, as they are in `SET name = word` and `ALTER … SET name TO word`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Setting {
    /// A statement begins.
    #[default]
    Start,
    /// It is an `ALTER`.
    Alter,
    /// A setting is named.
    Name,
    /// Its value follows.
    Value,
    Other,
}

/// The token before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    /// A literal that became `?`.
    Literal,
    /// `IN`: a list may follow.
    In,
    /// `VALUES`: rows follow.
    Values,
    /// `IS` or `NOT`: a truth value after it is a test, no literal.
    Test,
    /// The end of a row.
    Row,
    /// A comma after a row.
    RowComma,
    /// A comma among the values of settings.
    ValueComma,
    /// A sign after which a plus or minus belongs to the number.
    Operator,
    /// `+` or `-`.
    Plus,
    Other,
}

/// An open parenthesis.
#[derive(Clone, Copy, Debug)]
struct Parenthesis {
    /// Where its contents begin.
    start: usize,
    opened_after: Last,
    /// It contains literals, parameters and commas only, and at least one of them.
    is_plain: bool,
}

impl Redacted {
    /// Returns an empty text with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Adds the next token.
    pub(super) fn push(&mut self, token: Token<'_>) {
        match token.kind {
            Kind::Space | Kind::Comment => self.is_spaced = true,
            Kind::Text | Kind::Number => self.literal(token.kind),
            Kind::Parameter => self.add(token.text, Last::Literal),
            Kind::Quoted if self.is_value() => self.hide(token.text),
            Kind::Quoted => self.other(token.text, Last::Other),
            Kind::Word => self.word(token.text),
            Kind::Sign => self.sign(token.text),
        }
    }

    /// Returns the text.
    pub(super) fn finish(mut self) -> String {
        while self.out.last().is_some_and(|&byte| byte == b';' || byte == b' ') {
            self.out.pop();
        }
        String::from_utf8(self.out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    fn literal(&mut self, kind: Kind) {
        // 'a' 'b' on two lines is one literal.
        if kind == Kind::Text && self.last == Last::Literal && self.out.ends_with(b"?") {
            self.is_spaced = false;
            return;
        }
        if self.last == Last::Plus && self.before_last == Last::Operator && kind == Kind::Number {
            self.out.pop();
            self.is_spaced &= false;
        }
        self.add(b"?", Last::Literal);
    }

    fn is_value(&self) -> bool {
        self.setting == Setting::Value && self.parentheses.is_empty()
    }

    /// Adds a word that is a value.
    fn hide(&mut self, word: &[u8]) {
        let is_after_comma = self.last == Last::ValueComma;
        self.add(b"?", Last::Literal);
        self.hidden = Some(Hidden { at: self.out.len() - 1, word: word.to_owned(), is_after_comma });
    }

    /// Shows what was hidden last, if it is none for this reason: it is told where the text ends.
    fn show(&mut self, is_none: impl Fn(&Hidden, usize) -> bool) {
        if let Some(Hidden { at, word, .. }) = self.hidden.take_if(|hidden| is_none(hidden, self.out.len())) {
            self.out.splice(at..=at, word);
        }
    }

    /// Notes whether what follows a word is a value.
    fn follow_setting(&mut self, upper: &[u8]) {
        self.setting = match (self.setting, upper) {
            (Setting::Start, b"SET") => Setting::Name,
            (Setting::Start, b"ALTER") => Setting::Alter,
            (Setting::Start, _) => Setting::Other,
            (Setting::Alter, b"SET") if self.parentheses.is_empty() => Setting::Name,
            (Setting::Name, b"TO") if self.parentheses.is_empty() => Setting::Value,
            (setting, _) => setting,
        };
    }

    fn word(&mut self, word: &[u8]) {
        let upper = Upper::of(word);
        if self.is_value() && !matches!(upper.as_slice(), b"DEFAULT" | b"NULL" | b"OFF" | b"ON") {
            return self.hide(word);
        }
        self.follow_setting(upper.as_slice());
        let last = match upper.as_slice() {
            b"TRUE" | b"FALSE" if self.last != Last::Test => return self.add(b"?", Last::Literal),
            b"IN" => Last::In,
            b"VALUES" => Last::Values,
            b"IS" | b"NOT" => Last::Test,
            _ => Last::Other,
        };
        self.other(word, last);
    }

    fn sign(&mut self, sign: &[u8]) {
        match (sign, self.setting) {
            (b";", _) => self.setting = Setting::Start,
            (b"=", Setting::Name) if self.parentheses.is_empty() => self.setting = Setting::Value,
            (b"=", Setting::Value) => self.show(|hidden, _| hidden.is_after_comma),
            (b"(", Setting::Value) => self.show(|hidden, end| hidden.at + 1 == end),
            _ => {}
        }
        match sign {
            b"(" => self.open(),
            b")" => self.close(),
            b"," if self.is_value() => self.add(sign, Last::ValueComma),
            b"," if self.last == Last::Row => self.add(sign, Last::RowComma),
            b"," => self.add(sign, Last::Operator),
            b"?" => self.add(sign, Last::Literal),
            b"+" | b"-" => self.other(sign, Last::Plus),
            b"." | b"]" => self.other(sign, Last::Other),
            _ => self.other(sign, Last::Operator),
        }
    }

    fn open(&mut self) {
        let opened_after = self.last;
        if !matches!(opened_after, Last::Values | Last::RowComma) {
            self.row_end = None;
        }
        self.other_in_parenthesis();
        self.add(b"(", Last::Operator);
        if self.parentheses.len() < MAX_DEPTH {
            self.parentheses.push(Parenthesis { start: self.out.len(), opened_after, is_plain: true });
        }
    }

    fn close(&mut self) {
        let Some(opened) = self.parentheses.pop() else { return self.add(b")", Last::Other) };
        let is_plain = opened.is_plain && self.out.len() > opened.start;
        let is_row = matches!(opened.opened_after, Last::Values | Last::RowComma);
        if is_plain && opened.opened_after == Last::In {
            self.out.truncate(opened.start);
            self.is_spaced = false;
            self.add(b"?", Last::Literal);
        }
        self.add(b")", if is_row { Last::Row } else { Last::Other });
        if is_row {
            match self.row_end.filter(|_| is_plain && opened.opened_after == Last::RowComma) {
                Some(end) => self.out.truncate(end),
                None => self.row_end = is_plain.then_some(self.out.len()),
            }
        }
    }

    fn other(&mut self, text: &[u8], last: Last) {
        self.other_in_parenthesis();
        self.add(text, last);
    }

    fn other_in_parenthesis(&mut self) {
        if let Some(parenthesis) = self.parentheses.last_mut() {
            parenthesis.is_plain = false;
        }
    }

    fn add(&mut self, text: &[u8], last: Last) {
        if std::mem::take(&mut self.is_spaced) && !self.out.is_empty() {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(text);
        self.before_last = self.last;
        self.last = last;
    }
}
