//! Bodies that are looked at as they go by, and what they tell of their exchange.

use super::Http1Parser;
use crate::protocol::Side;
use crate::protocol::http::content::{Content, Graphql};
use crate::protocol::http1::body::{Body, Step};
use crate::protocol::http1::request::Asked;

impl Http1Parser {
    /// Returns whether more of the only request is to be seen first, which tells what it asks for. It is there already,
    /// or comes: few servers answer before they have read a small body, and then a client may leave it out only if it
    /// has asked whether to send it.
    pub(super) fn is_asking(&self, asked: Asked) -> bool {
        let is_open = self.client.content.as_ref().is_some_and(Content::is_open);
        is_open && self.outstanding.len() == 1 && self.may_wait && !asked.expects_continue
    }

    /// Returns the GraphQL request that is being answered, though its body may not have ended.
    pub(super) fn take_graphql(&mut self) -> Option<Graphql> {
        let is_in_body = self.outstanding.len() == 1;
        let known = self.outstanding.front_mut().and_then(|outstanding| outstanding.graphql.take());
        known.or_else(|| self.client.content.take_if(|_| is_in_body).and_then(Content::into_graphql))
    }

    /// Advances over bytes of a body that are looked at; none where none are, or none of those that are shown.
    pub(super) fn look(&mut self, side: Side, body: &mut Body, bytes: &[u8]) -> Option<Step> {
        let content = self.half(side).content.as_mut().filter(|content| content.is_open())?;
        if bytes.is_empty() {
            content.missed();
            // Events of which some are missing are looked at as soon as there are others.
            return (*body == Body::UntilEnd && content.is_endless()).then_some(Step::Need(1));
        }
        let step = body.read(bytes.len())?;
        let (Step::Eat(length) | Step::End(length)) = step else { return Some(step) };
        let is_wanted = content.feed(bytes.get(..length).unwrap_or_default());
        if !is_wanted && content.is_open() {
            // It is nothing of interest after all.
            self.half(side).content = None;
        }
        Some(step)
    }
}
