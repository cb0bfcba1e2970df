//! Gives back what was claimed and reached no worker.

use events_core::WorkerId;

use crate::broker::Inner;
use crate::end::End;
use crate::error::CeleryError;
use crate::settle;
use crate::tag;
use crate::unacked::entries;

const ACTION: &str = "give messages back";

/// Gives back what claims of this worker took of which no answer came, or which nobody waited for. They
/// are looked for again with the next heartbeats.
pub(crate) async fn give_back(inner: &Inner, worker: WorkerId) -> Result<(), CeleryError> {
    let mut doubtful = inner.held.take_doubtful(worker);
    // From the last: what comes to the front last is the first again.
    while let Some(one) = doubtful.pop() {
        if let Err(error) = give_back_all(inner, &one).await {
            doubtful.push(one);
            for rest in doubtful {
                inner.held.doubt(worker, rest);
            }
            return Err(error);
        }
        inner.held.gave_back(worker, one);
    }
    Ok(())
}

/// All of a claim, or the one message of this tag, as if it had not been claimed.
async fn give_back_all(inner: &Inner, tag: &str) -> Result<(), CeleryError> {
    let mut tags: Vec<_> =
        (1..=tag::MOST_IN_CLAIM).map(|number| tag::of_message(tag, number)).collect();
    tags.push(tag.to_owned());
    let mut command = redis::cmd("ZMSCORE");
    command.arg(&inner.keys.unacked_index).arg(&tags);
    let scores: Vec<Option<f64>> = inner.link.command(ACTION, &command).await?;
    let tags = tags.into_iter().zip(scores).filter_map(|(tag, score)| score.map(|_| tag));
    let tags: Vec<_> = tags.collect();
    // Page by page from the last, for the same reason.
    for tags in tags.chunks(100).rev() {
        let mut ends = Vec::new();
        for (tag, entry) in entries(inner, tags).await? {
            let Some(entry) = entry else { continue };
            let list = inner.keys.list(&entry.routing_key, entry.step());
            ends.push((tag, End::First { list, text: entry.message }));
        }
        let ends: Vec<_> = ends.iter().map(|(tag, end)| (&**tag, end.clone())).collect();
        settle::end(inner, &ends).await?;
    }
    Ok(())
}
