//! What queries see: one consistent picture of generations and segments, changed only as a whole. A span is in exactly
//! one of them at any moment.

use std::sync::{Arc, PoisonError, RwLock};

use super::aliases::Aliases;
use super::live::Generation;
use super::segment::{Segment, Segments};

/// A picture; holding it keeps the files of its segments.
#[derive(Clone)]
pub(crate) struct Picture {
    /// The generation that takes spans.
    pub(crate) current: Arc<Generation>,
    /// Generations that wait for their segment, oldest first.
    pub(crate) sealing: Vec<Arc<Generation>>,
    /// Segments, oldest first.
    pub(crate) segments: Segments,
    /// Which trace ids mean the same; the one part that goes on to change.
    pub(crate) aliases: Arc<Aliases>,
}

impl Picture {
    /// Returns all generations, newest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        std::iter::once(&self.current).chain(self.sealing.iter().rev())
    }
}

/// The place where the newest picture hangs.
pub(crate) struct View {
    picture: RwLock<Picture>,
}

impl View {
    pub(crate) fn new(current: Generation, aliases: Arc<Aliases>) -> Self {
        let current = Arc::new(current);
        let picture = Picture { current, sealing: Vec::new(), segments: Arc::default(), aliases };
        Self { picture: RwLock::new(picture) }
    }

    pub(crate) fn picture(&self) -> Picture {
        self.picture.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the generation that takes spans.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.picture.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// Begins a new generation; returns the one that ended, which stays visible.
    pub(crate) fn cut(&self) -> Arc<Generation> {
        let mut picture = self.picture.write().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::replace(&mut picture.current, Arc::new(Generation::new()));
        picture.sealing.push(Arc::clone(&ended));
        ended
    }

    /// Puts segments in the place of a generation and of other segments, at once.
    pub(crate) fn replace(
        &self,
        generation: Option<&Arc<Generation>>,
        removed: &[u64],
        added: Vec<Arc<Segment>>,
    ) {
        let mut picture = self.picture.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(generation) = generation {
            picture.sealing.retain(|other| !Arc::ptr_eq(other, generation));
        }
        let kept = picture.segments.iter().filter(|segment| !removed.contains(&segment.meta.id)).cloned();
        let mut segments: Vec<_> = kept.chain(added).collect();
        segments.sort_by_key(|segment| (segment.meta.sealed_unix_ns, segment.meta.id));
        picture.segments = segments.into();
    }
}
