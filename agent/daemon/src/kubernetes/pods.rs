//! The pods of this node, by uid and by container.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::LINGER;
use super::pod::Pod;

/// Deleted pods that are remembered; one more, and the longest dead is forgotten.
const MAX_DEAD: usize = 4096;

/// Pods, the living and those that died a moment ago.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// By every uid that names one.
    by_uid: HashMap<String, Arc<Pod>>,
    /// From the runtime's identifier to the uid.
    by_container: HashMap<String, String>,
    living: HashSet<String>,
    /// Uids of the dead and when they were deleted, the longest dead first.
    dead: VecDeque<(Instant, String)>,
}

impl Pods {
    /// Takes a pod in its present state; returns it, or none if nothing has changed.
    pub(super) fn insert(&mut self, pod: Pod) -> Option<Arc<Pod>> {
        let before = self.by_uid.get(&pod.uid).cloned();
        let is_back = self.living.insert(pod.uid.clone());
        if before.as_deref() == Some(&pod) && !is_back {
            return None;
        }
        self.dead.retain(|(_, uid)| *uid != pod.uid);
        if let Some(before) = &before {
            self.unlink(before);
        }
        let pod = Arc::new(pod);
        for uid in pod.uids() {
            self.by_uid.insert(uid.clone(), pod.clone());
        }
        for id in pod.containers.iter().flat_map(|container| &container.ids) {
            self.by_container.insert(id.clone(), pod.uid.clone());
        }
        Some(pod)
    }

    /// A pod was deleted: it is remembered for a while. Returns it if it lived.
    pub(super) fn end(&mut self, uid: &str, now: Instant) -> Option<Arc<Pod>> {
        if !self.living.remove(uid) {
            return None;
        }
        self.dead.push_back((now, uid.to_owned()));
        if self.dead.len() > MAX_DEAD
            && let Some((_, oldest)) = self.dead.pop_front()
        {
            self.forget(&oldest);
        }
        self.by_uid.get(uid).cloned()
    }

    /// Forgets those that died long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, uid)) =
            self.dead.pop_front_if(|(since, _)| now.saturating_duration_since(*since) >= LINGER)
        {
            self.forget(&uid);
        }
    }

    /// Returns the pod of a container, or that which a control group names. Where both are known and differ, neither is
    /// believed.
    pub(super) fn find(&self, container: Option<&str>, uid: Option<&str>) -> Option<&Arc<Pod>> {
        let by_container = container.and_then(|id| self.by_uid.get(self.by_container.get(id)?));
        let by_uid = uid.and_then(|uid| self.by_uid.get(uid));
        match (by_container, by_uid) {
            (Some(one), Some(other)) if one.uid != other.uid => None,
            (found, other) => found.or(other),
        }
    }

    /// Returns the uids of the living.
    pub(super) fn living(&self) -> impl Iterator<Item = &String> {
        self.living.iter()
    }

    /// Returns how many are living, and how many are only remembered.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.living.len(), self.dead.len())
    }

    fn forget(&mut self, uid: &str) {
        if let Some(pod) = self.by_uid.get(uid).cloned() {
            self.unlink(&pod);
        }
    }

    fn unlink(&mut self, pod: &Pod) {
        for uid in pod.uids() {
            self.by_uid.remove(uid);
        }
        for id in pod.containers.iter().flat_map(|container| &container.ids) {
            self.by_container.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::pod::Container;
    use super::*;

    fn pod(uid: &str, id: &str) -> Pod {
        let container =
            Container { name: "main".to_owned(), ids: vec![id.to_owned()], ..Container::default() };
        Pod { uid: uid.to_owned(), containers: vec![container], ..Pod::default() }
    }

    #[test]
    fn a_pod_that_died_is_known_for_a_while() {
        let (mut pods, start) = (Pods::default(), Instant::now());
        pods.insert(pod("a", "1"));
        pods.end("a", start);
        pods.expire(start + LINGER - Duration::from_secs(1));
        assert_eq!(pods.find(Some("1"), None).unwrap().uid, "a");
        pods.expire(start + LINGER);
        assert_eq!(pods.find(Some("1"), Some("a")), None);
        assert!(pods.by_container.is_empty() && pods.by_uid.is_empty());
    }

    #[test]
    fn the_dead_are_bounded() {
        let (mut pods, start) = (Pods::default(), Instant::now());
        for number in 0..=MAX_DEAD {
            pods.insert(pod(&number.to_string(), &format!("c{number}")));
            pods.end(&number.to_string(), start);
        }
        assert_eq!(pods.counts(), (0, MAX_DEAD));
        assert_eq!(pods.find(None, Some("0")), None);
        assert!(pods.find(None, Some("1")).is_some());
    }

    #[test]
    fn a_container_of_one_pod_in_the_group_of_another_is_nobodys() {
        let mut pods = Pods::default();
        pods.insert(pod("a", "1"));
        pods.insert(pod("b", "2"));
        assert_eq!(pods.find(Some("1"), Some("b")), None);
        assert_eq!(pods.find(Some("9"), Some("b")).unwrap().uid, "b");
        assert_eq!(pods.find(Some("1"), Some("unknown")).unwrap().uid, "a");
    }

    #[test]
    fn what_has_not_changed_is_no_change() {
        let mut pods = Pods::default();
        assert!(pods.insert(pod("a", "1")).is_some());
        assert!(pods.insert(pod("a", "1")).is_none());
        assert!(pods.insert(pod("a", "2")).is_some());
        assert_eq!(pods.find(Some("1"), None), None);
    }
}
