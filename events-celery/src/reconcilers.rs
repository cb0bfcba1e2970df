//! When reconcilers ran, for all programs that share a Redis.

use std::collections::BTreeMap;

use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::{BrokerError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::broker::{CeleryBroker, Inner};
use crate::error::CeleryError;
use crate::scripts;

/// What is remembered of one. The scripts compare and set texts: numbers in Lua are not exact enough.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_by: Option<String>,
    next_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

impl Record {
    fn state(self, name: String) -> ReconcilerState {
        let time = |text: Option<String>| text?.parse().ok().map(Timestamp::from_micros);
        ReconcilerState {
            name,
            started_at: time(self.started_at),
            started_by: self.started_by.and_then(|worker| worker.parse().ok()),
            next_at: time(Some(self.next_at)).unwrap_or_default(),
            ended_at: time(self.ended_at),
            // Of another release, perhaps: nothing depends on it.
            result: self.result.and_then(|result| serde_json::from_str(&result).ok()),
        }
    }
}

impl ReconcilerRuns for CeleryBroker {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        const ACTION: &str = "tell when reconcilers ran";
        read(&self.inner, ACTION).await.map_err(|error| error.into_broker_error(ACTION))
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        const ACTION: &str = "remember when a reconciler is due";
        let record = Record { next_at: next_at.as_micros().to_string(), ..Record::default() };
        self.uninterrupted(ACTION, move |inner| async move {
            let record = serde_json::to_string(&record).expect("texts are JSON");
            let mut command = redis::cmd("HSETNX");
            command.arg(&inner.keys.reconcilers).arg(name).arg(record);
            inner.link.command::<i64>(ACTION, &command).await.map(drop)
        })
        .await
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        const ACTION: &str = "stamp the run of a reconciler";
        let start = start.clone();
        self.uninterrupted(ACTION, move |inner| async move {
            let after = start.after.map_or_else(String::new, |after| after.as_micros().to_string());
            inner
                .link
                .script(ACTION, &scripts::BEGIN_RUN, |command| {
                    command.arg(1).arg(&inner.keys.reconcilers).arg(start.name).arg(after);
                    command.arg(start.started_at.as_micros()).arg(start.started_by.to_string());
                    command.arg(start.next_at.as_micros());
                })
                .await
        })
        .await
    }

    async fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> Result<(), BrokerError> {
        const ACTION: &str = "remember how a reconciler's run ended";
        let result = serde_json::to_string(result).expect("texts and numbers are JSON");
        self.uninterrupted(ACTION, move |inner| async move {
            let answer = inner.link.script::<i64>(ACTION, &scripts::END_RUN, |command| {
                command.arg(1).arg(&inner.keys.reconcilers).arg(name);
                command.arg(started_at.as_micros()).arg(ended_at.as_micros()).arg(result);
            });
            answer.await.map(drop)
        })
        .await
    }
}

async fn read(inner: &Inner, action: &'static str) -> Result<Vec<ReconcilerState>, CeleryError> {
    let mut command = redis::cmd("HGETALL");
    command.arg(&inner.keys.reconcilers);
    let found: BTreeMap<String, Vec<u8>> = inner.link.command(action, &command).await?;
    let read = |(name, record): (String, Vec<u8>)| match serde_json::from_slice::<Record>(&record) {
        Ok(record) => Some(record.state(name)),
        Err(error) => {
            tracing::error!(
                reconciler = name,
                %error,
                "what is remembered of a reconciler cannot be read and is passed over; delete it with HDEL"
            );
            None
        }
    };
    Ok(found.into_iter().filter_map(read).collect())
}
