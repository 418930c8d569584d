//! Whether the API server lets this pod ask for what the agent follows.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Config};

use super::Error;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is followed, with its group, and how.
const RESOURCES: [(&str, &str); 5] = [
    ("", "pods"),
    ("", "services"),
    ("", "nodes"),
    ("discovery.k8s.io", "endpointslices"),
    ("batch", "jobs"),
];
const VERBS: [&str; 2] = ["list", "watch"];

/// Something that may not be done in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `list` or `watch`.
    pub verb: &'static str,
    /// The API group; empty for the core's.
    pub group: &'static str,
    /// What is asked for.
    pub resource: &'static str,
}

/// Asks the API server, with the service account of this pod, and returns what it would refuse.
///
/// # Errors
/// The account is of no use, or the API server does not answer.
pub fn denied() -> Result<Vec<Access>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = Config::incluster()?;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        let reviews = Api::all(Client::try_from(config)?);
        let mut denied = Vec::new();
        for (group, resource) in RESOURCES {
            for verb in VERBS {
                let access = Access { verb, group, resource };
                if !is_allowed(&reviews, &access).await? {
                    denied.push(access);
                }
            }
        }
        Ok(denied)
    })
}

async fn is_allowed(reviews: &Api<SelfSubjectAccessReview>, access: &Access) -> Result<bool, kube::Error> {
    let asked = ResourceAttributes {
        verb: Some(access.verb.to_owned()),
        group: Some(access.group.to_owned()),
        resource: Some(access.resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(asked), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
