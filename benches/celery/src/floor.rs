//! What bare commands do, with the bare client: the floors.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Script, Value};

use crate::Failed;
use crate::world;

/// How messages are pushed in bulk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// So many commands are one pipeline, each with one message.
    pub(crate) pipeline: usize,
    /// So many pipelines are on their way at once.
    pub(crate) at_once: usize,
}

impl Way {
    /// Of these the best is the floor.
    pub(crate) const ALL: [Self; 6] = [
        Self { pipeline: 50, at_once: 1 },
        Self { pipeline: 50, at_once: 4 },
        Self { pipeline: 200, at_once: 1 },
        Self { pipeline: 200, at_once: 2 },
        Self { pipeline: 1_000, at_once: 1 },
        Self { pipeline: 1_000, at_once: 2 },
    ];
}

/// Pushes messages to a list.
pub(crate) async fn push(
    connection: &MultiplexedConnection,
    list: &str,
    messages: &[Vec<u8>],
    way: Way,
) -> Result<(), Failed> {
    let pipelines = messages.chunks(way.pipeline).map(async |messages| {
        let mut pipeline = redis::pipe();
        for message in messages {
            pipeline.lpush(list, message).ignore();
        }
        pipeline.query_async::<()>(&mut connection.clone()).await
    });
    stream::iter(pipelines).buffered(way.at_once).try_collect::<()>().await?;
    Ok(())
}

/// Pushes messages one by one, from so many senders that share a connection.
pub(crate) async fn push_one_by_one(
    connection: &MultiplexedConnection,
    list: &'static str,
    messages: &[Vec<u8>],
    senders: usize,
) -> Result<(), Failed> {
    let part = messages.len().div_ceil(senders);
    let senders = messages.chunks(part).map(|part| {
        let (mut connection, part) = (connection.clone(), part.to_vec());
        tokio::spawn(async move {
            for message in part {
                redis::cmd("LPUSH").arg(list).arg(message).exec_async(&mut connection).await?;
            }
            Ok::<_, redis::RedisError>(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    Ok(())
}

/// Two scripts that a consumer calls in turns.
pub(crate) struct Scripts {
    claim: Script,
    complete: Script,
    minimal: bool,
}

impl Scripts {
    /// Those of this project.
    pub(crate) fn own() -> Self {
        Self {
            claim: Script::new(include_str!("../../../events-celery/src/scripts/claim.lua")),
            complete: Script::new(include_str!("../../../events-celery/src/scripts/complete.lua")),
            minimal: false,
        }
    }

    /// The least that hands a message out so that it is not lost, and ends that: as kombu's
    /// consumers see it, and without anything that a fleet needs beyond.
    pub(crate) fn minimal() -> Self {
        Self {
            claim: Script::new(
                "local out, held, scores = {}, {}, {}
                 local popped = redis.call('RPOP', KEYS[3], ARGV[2]) or {}
                 for i, raw in ipairs(popped) do
                   local tag = ARGV[1] .. i
                   held[#held + 1] = tag
                   held[#held + 1] = '[' .. raw .. ',\"\",\"rust\"]'
                   scores[#scores + 1] = ARGV[3]
                   scores[#scores + 1] = tag
                   out[#out + 1] = tag
                   out[#out + 1] = raw
                 end
                 if #held > 0 then
                   redis.call('HSET', KEYS[1], unpack(held))
                   redis.call('ZADD', KEYS[2], unpack(scores))
                 end
                 return out",
            ),
            complete: Script::new(
                "redis.call('HDEL', KEYS[1], unpack(ARGV))
                 return redis.call('ZREM', KEYS[2], unpack(ARGV))",
            ),
            minimal: true,
        }
    }

    /// Claims and completes so many messages in batches, and looks at none of them.
    pub(crate) async fn drain(
        &self,
        connection: &mut MultiplexedConnection,
        messages: usize,
        batch: usize,
    ) -> Result<(), Failed> {
        Cmd::hset("events:workers", "floor", "{}").exec_async(connection).await?;
        let mut drained = 0;
        for number in 0.. {
            if drained >= messages {
                break;
            }
            let tags = self.claim(connection, number, batch).await?;
            drained += tags.len();
            let mut complete = self.complete.key("unacked");
            complete.key("unacked_index");
            for tag in tags {
                complete.arg(tag);
            }
            complete.invoke_async::<Value>(connection).await?;
        }
        Ok(())
    }

    /// The tags of what was claimed.
    async fn claim(
        &self,
        connection: &mut MultiplexedConnection,
        number: usize,
        batch: usize,
    ) -> Result<Vec<Vec<u8>>, Failed> {
        let tag = format!("rs.01999999-9999-7999-8999-999999999999.{number}");
        let mut claim = self.claim.key("unacked");
        claim.key("unacked_index");
        if self.minimal {
            claim.key(world::QUEUE).arg(&tag).arg(batch).arg("1764000000.000000");
        } else {
            claim.key("events:scheduled").key("events:quiet").key("events:workers");
            claim.key("events:dead").key("events:dead_index").key(world::QUEUE);
            claim.arg("floor").arg(&tag).arg(1_764_000_000_000_000_u64).arg("1764000000.000000");
            claim.arg(batch).arg("").arg(world::QUEUE);
        }
        let found = match claim.invoke_async(connection).await? {
            Value::Array(found) if self.minimal => found,
            Value::Array(mut answer) if answer.len() == 5 => match answer.swap_remove(2) {
                // Whose tags are those of the claim and their numbers.
                Value::Array(texts) => {
                    let tags = (1..=texts.len()).map(|number| format!("{tag}.{number}"));
                    return Ok(tags.map(String::into_bytes).collect());
                }
                other => return Err(format!("a claim was answered with {other:?}").into()),
            },
            other => return Err(format!("a claim was answered with {other:?}").into()),
        };
        let tags = found.into_iter().step_by(2).map(redis::from_redis_value);
        Ok(tags.collect::<Result<_, _>>()?)
    }
}
