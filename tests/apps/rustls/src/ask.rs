//! Asks for users, many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Client;
use tokio::task::JoinSet;

use super::Failure;

/// Asks for `count` users from `first` on, `in_flight` at once, and fails if one is not answered as it should be.
pub(super) async fn ask(
    client: Client,
    url: &str,
    first: usize,
    count: usize,
    in_flight: usize,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(first));
    let mut askers = JoinSet::new();
    for _ in 0..in_flight {
        let (client, url, next) = (client.clone(), url.to_owned(), Arc::clone(&next));
        askers.spawn(async move {
            loop {
                let user = next.fetch_add(1, Ordering::Relaxed);
                if user >= first + count {
                    return Ok::<_, Failure>(());
                }
                let answer = client.get(format!("{url}/users/{user}")).send().await?.error_for_status()?;
                if answer.text().await? != format!("user {user}\n") {
                    return Err("that is another user".into());
                }
            }
        });
    }
    while let Some(asker) = askers.join_next().await {
        asker??;
    }
    Ok(())
}
