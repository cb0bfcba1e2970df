//! What a foreign subscriber is, and every rule about one that can be decided without knowing types.

use proc_macro2::{Span, TokenStream};
use syn::{Error, LitStr, Type};

use super::parse::{EVENT, Parsed, TASK};
use crate::delivery::{Delivery, QUEUE};
use crate::keys::{Arguments, Key};
use crate::mistakes::Mistakes;
use crate::values::{self, display};

pub(super) struct ForeignSubscriber {
    pub(super) krate: TokenStream,
    pub(super) event: Type,
    /// The task's name on the wire, verbatim.
    pub(super) task: LitStr,
    pub(super) delivery: Delivery,
}

impl ForeignSubscriber {
    pub(super) fn new(parsed: Parsed) -> syn::Result<Self> {
        let Parsed { arguments, mistakes: mut found } = parsed;
        let event = event(&arguments, &mut found);
        let task = task(&arguments, &mut found);
        if !arguments.mentions(QUEUE.name) {
            missing(
                &arguments,
                "add the queue that the task's program serves: `queue = \"mail\"`",
                &mut found,
            );
        }
        let delivery = Delivery::new(&arguments, &mut found);
        let krate = arguments.krate(&mut found);
        found.check()?;
        match (event, task) {
            (Some(event), Some(task)) => Ok(Self { krate, event, task, delivery }),
            _ => Err(Error::new(Span::call_site(), "the event and the task are not understood")),
        }
    }
}

fn event(arguments: &Arguments, found: &mut Mistakes) -> Option<Type> {
    let is_named = arguments.mentions(EVENT.name);
    for stray in &arguments.types {
        let message = match is_named {
            true => "a foreign subscriber has one event; declare another one for another event"
                .to_owned(),
            false => format!("name the event with its key: `event = {}`", display(stray)),
        };
        found.at(stray, message);
    }
    if !is_named && arguments.types.is_empty() {
        missing(arguments, &format!("add the event: `{}`", EVENT.form), found);
    }
    let path = arguments.path(EVENT.name, found)?;
    Some(syn::parse_quote!(#path))
}

fn task(arguments: &Arguments, found: &mut Mistakes) -> Option<LitStr> {
    if ![TASK.name, "name"].iter().any(|key| arguments.mentions(key)) {
        let message = format!(
            "add the name under which the other program registers the task: `{}`",
            TASK.form
        );
        missing(arguments, &message, found);
    }
    let task = arguments.text(TASK.name, found)?;
    if let Some(problem) = values::foreign_task_problem(&task.value()) {
        found.at(&task, problem);
    }
    Some(task)
}

/// Complains at a key that is there: the whole declaration would be long.
fn missing(arguments: &Arguments, message: &str, found: &mut Mistakes) {
    const WHERE: [Key; 3] = [TASK, EVENT, QUEUE];
    match WHERE.iter().find_map(|key| arguments.key(key.name)) {
        Some(key) => found.at(key, message),
        None => found.add(Error::new(Span::call_site(), message)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quote::quote;

    use super::super::parse;
    use super::*;

    fn model(arguments: TokenStream) -> Result<ForeignSubscriber, Vec<String>> {
        ForeignSubscriber::new(parse::parse(arguments))
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect())
    }

    fn mistakes(arguments: TokenStream) -> Vec<String> {
        model(arguments).err().expect("mistakes")
    }

    #[test]
    fn every_key_is_understood() {
        let foreign = model(quote!(
            event = shop::OrderPlaced,
            task = "Shop: send it!",
            queue = "mail",
            priority = -1,
            delay = "10s",
            reconciled_by = sweeps::mails,
            crate = crate::events,
        ))
        .unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!(display(&foreign.event), "shop::OrderPlaced");
        assert_eq!(foreign.task.value(), "Shop: send it!");
        assert_eq!(foreign.delivery.queue.map(|queue| queue.value()).as_deref(), Some("mail"));
        assert_eq!(foreign.delivery.priority, -1);
        assert_eq!(foreign.delivery.delay, Some(Duration::from_secs(10)));
        assert!(foreign.delivery.reconciled_by.is_some() && !foreign.delivery.freshness_only);
        assert_eq!(foreign.krate.to_string(), "crate :: events");
    }

    #[test]
    fn what_is_missing_is_asked_for_once() {
        assert_eq!(mistakes(quote!()).len(), 3);
        let without_event = mistakes(quote!(OrderPlaced, task = "a", queue = "b"));
        assert_eq!(without_event, ["name the event with its key: `event = OrderPlaced`"]);
        let without_queue = mistakes(quote!(event = A, task = "a"));
        assert_eq!(
            without_queue,
            ["add the queue that the task's program serves: `queue = \"mail\"`"]
        );
        let wrong_types = mistakes(quote!(event = "A", task = a, queue = 1));
        assert_eq!(
            wrong_types,
            [
                "write `event = OrderPlaced`",
                "write `task = \"shop.tasks.send_confirmation\"`",
                "write `queue = \"stewardship\"`"
            ]
        );
    }

    #[test]
    fn a_key_that_is_there_but_wrong_is_not_missing() {
        for (task, queue) in [
            (quote!(taks = "a"), quote!(queue = "b")),
            (quote!(name = "a"), quote!(queue = "b")),
            (quote!(task = "a"), quote!(queue =)),
            (quote!(task = "a"), quote!(quue = "b")),
            (quote!(task = "a"), quote!(queue)),
            (quote!(task = "a"), quote!(priority = 1 queue = "b")),
        ] {
            let found = mistakes(quote!(event = A, #task, #queue));
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn what_the_other_program_decides_is_not_said_here() {
        for key in ["max_retries", "retry_backoff", "timeout"] {
            let key = quote::format_ident!("{key}");
            let found = mistakes(quote!(event = A, task = "a", queue = "b", #key = 1));
            assert!(found.len() == 1 && found[0].contains("say it there"), "{found:?}");
        }
        let found = mistakes(quote!(event = A, task = "a", queue = "b", lane = 1));
        assert!(found[0].starts_with("unknown key `lane`; the keys are `event`, `task`, `queue`"));
        assert!(!found[0].contains("timeout"), "{found:?}");
    }
}
