//! How much what is shown looks like a protocol's messages.

/// How sure a single message makes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// It is none.
    No,
    /// It could be one: another must follow.
    Weak,
    /// Nothing else looks like it.
    Strong,
}

impl Likeness {
    /// Returns that it could be one, if that is so.
    pub(super) fn weak_if(is_so: bool) -> Self {
        if is_so { Likeness::Weak } else { Likeness::No }
    }

    /// Returns that nothing else looks like it, if that is so; it could be one in any case.
    pub(super) fn strong_if(is_so: bool) -> Self {
        if is_so { Likeness::Strong } else { Likeness::Weak }
    }
}
