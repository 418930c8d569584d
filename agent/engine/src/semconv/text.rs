//! Text of attributes and names.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A text that is known beforehand, of one owner, or shared: a statement that comes again is the same text in all its
/// spans.
#[derive(Clone, Debug)]
pub enum Text {
    /// Known beforehand.
    Static(&'static str),
    /// Of one owner, who copies it to share it.
    Owned(String),
    /// Of all that have a clone of it.
    Shared(Arc<str>),
}

impl Text {
    /// Returns it so that clones of it cost no memory.
    #[must_use]
    pub fn shared(self) -> Self {
        match self {
            Text::Owned(text) => Text::Shared(text.into()),
            other => other,
        }
    }

    /// Returns the bytes on the heap that it holds. What is shared counts in each place.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Text::Static(_) => 0,
            Text::Owned(text) => text.capacity(),
            Text::Shared(text) => text.len(),
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Text::Static("")
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Owned(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Text::Static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text::Owned(text)
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Text::Static(text),
            Cow::Owned(text) => Text::Owned(text),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text {
            Text::Owned(text) => text,
            other => (*other).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_by_what_they_say() {
        let owned = Text::from("a".to_owned());
        let shared = owned.clone().shared();
        assert!(owned == shared && shared == Text::Static("a") && shared == "a");
        assert_eq!(String::from(shared), "a");
    }

    #[test]
    fn what_is_shared_is_not_copied() {
        let shared = Text::from("a".to_owned()).shared();
        let copy = shared.clone();
        assert!(std::ptr::eq(&raw const *shared, &raw const *copy));
    }
}
