//! A walk over JSON text (RFC 8259) that may end anywhere. It makes no tree, and nesting costs no memory.

/// What is left of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

/// A string, as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    /// Its end was seen.
    pub(super) is_whole: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Returns whether the next byte, behind white space, is this one.
    pub(super) fn is_at(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first() == Some(&byte)
    }

    /// Passes the next byte if it is this one.
    pub(super) fn enter(&mut self, byte: u8) -> bool {
        let is_it = self.is_at(byte);
        if is_it {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_it
    }

    /// Walks over the members of an object; `each` passes the value of one. None where the object is not there to its
    /// end, or is none.
    pub(super) fn object(&mut self, mut each: impl FnMut(&[u8], &mut Self) -> Option<()>) -> Option<()> {
        if !self.enter(b'{') {
            return None;
        }
        while !self.enter(b'}') {
            let name = self.text().filter(|name| name.is_whole)?;
            if !self.enter(b':') {
                return None;
            }
            each(name.raw, self)?;
            if !self.enter(b',') && !self.is_at(b'}') {
                return None;
            }
        }
        Some(())
    }

    /// Passes a string; none where the next value is something else.
    pub(super) fn text(&mut self) -> Option<Text<'a>> {
        if !self.enter(b'"') {
            return None;
        }
        let mut from = 0;
        while let Some(at) = memchr::memchr2(b'"', b'\\', self.rest.get(from..)?) {
            let at = from + at;
            if self.rest.get(at) == Some(&b'"') {
                let (raw, rest) = self.rest.split_at_checked(at)?;
                self.rest = rest.get(1..)?;
                return Some(Text { raw, is_whole: true });
            }
            from = at + 2;
            if from > self.rest.len() {
                break;
            }
        }
        Some(Text { raw: std::mem::take(&mut self.rest), is_whole: false })
    }

    /// Passes a value of any kind; none where its end is not there.
    pub(super) fn skip(&mut self) -> Option<()> {
        if self.is_at(b'"') {
            return self.text().filter(|text| text.is_whole).map(|_| ());
        }
        if self.enter(b'{') || self.enter(b'[') {
            return self.leave();
        }
        let end = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())?;
        self.rest = self.rest.get(end..)?;
        (end > 0).then_some(())
    }

    /// Passes the rest of an object or a list, with the byte that ends it.
    pub(super) fn leave(&mut self) -> Option<()> {
        let mut depth = 1usize;
        while depth > 0 {
            let at = self.rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
            let (_, rest) = self.rest.split_at_checked(at)?;
            self.rest = rest;
            match rest.first()? {
                b'"' => {
                    self.text().filter(|text| text.is_whole)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            self.rest = rest.get(1..)?;
        }
        Some(())
    }
}

impl Text<'_> {
    /// Returns the text that is meant. Characters that are not ASCII and are written as numbers become `?`: no name of
    /// interest has any.
    pub(super) fn unescaped(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let [byte, after @ ..] = rest {
            rest = after;
            if *byte != b'\\' {
                text.push(*byte);
                continue;
            }
            let Some((&escape, after)) = rest.split_first() else { break };
            rest = after;
            text.push(match escape {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' | b'f' => b' ',
                b'u' => {
                    let (digits, after) = rest.split_at_checked(4).unwrap_or((rest, &[]));
                    rest = after;
                    let code =
                        str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    code.filter(u8::is_ascii).unwrap_or(b'?')
                }
                other => other,
            });
        }
        text
    }
}
