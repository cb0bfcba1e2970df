//! What a subscriber is, and every rule about one that can be decided without knowing types.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use syn::{Error, LitStr, Type, Visibility};

use super::parse::Parsed;
use crate::delivery::Delivery;
use crate::function::{Function, is_called};
use crate::keys::Arguments;
use crate::mistakes::Mistakes;
use crate::values::{self, display};

const A_SUBSCRIBER: &str = "a subscriber";

/// A task that is tried for months is a mistake in the number.
const MOST_RETRIES: u32 = 1000;

pub(super) struct Subscriber {
    pub(super) krate: TokenStream,
    pub(super) visibility: Visibility,
    pub(super) ident: Ident,
    pub(super) is_async: bool,
    pub(super) event: Type,
    /// The types of the arguments; the first is that of the event.
    pub(super) takes: Vec<Type>,
    pub(super) returns: Option<Type>,
    pub(super) name: Option<LitStr>,
    pub(super) aliases: Vec<LitStr>,
    pub(super) delivery: Delivery,
    pub(super) max_retries: Option<u32>,
    pub(super) retry_backoff: Option<(Duration, Option<Duration>)>,
    pub(super) timeout: Option<Duration>,
    pub(super) debounce: Option<Debounce>,
}

/// Which key must be quiet for how long, and how long it may be busy.
pub(super) struct Debounce {
    pub(super) window: Duration,
    pub(super) longest: Option<Duration>,
    pub(super) by: Ident,
}

impl Subscriber {
    pub(super) fn new(parsed: &Parsed) -> syn::Result<Self> {
        let mut found = Mistakes::default();
        if let Some(error) = &parsed.mistakes {
            found.add(error.clone());
        }
        let Parsed { arguments, function, .. } = parsed;
        function.check_free(A_SUBSCRIBER, &mut found);
        let event = event(arguments, &mut found);
        let subscriber = Self {
            krate: arguments.krate(&mut found),
            visibility: function.visibility.clone(),
            ident: function.signature.ident.clone(),
            is_async: function.signature.asyncness.is_some(),
            takes: takes(function, event, &mut found),
            returns: returns(function, &mut found),
            name: arguments.names("name", &mut found).pop(),
            aliases: aliases(arguments, &mut found),
            delivery: Delivery::new(arguments, &mut found),
            max_retries: max_retries(arguments, &mut found),
            retry_backoff: retry_backoff(arguments, &mut found),
            timeout: arguments.duration("timeout", &mut found),
            debounce: debounce(arguments, &mut found),
            event: event.cloned().unwrap_or_else(|| syn::parse_quote!(())),
        };
        found.check()?;
        Ok(subscriber)
    }
}

fn event<'a>(arguments: &'a Arguments, found: &mut Mistakes) -> Option<&'a Type> {
    let Some((event, more)) = arguments.types.split_first() else {
        let message = "name the event first: `#[subscribes_to(TheEvent)]`";
        found.add(Error::new(Span::call_site(), message));
        return None;
    };
    for stray in more {
        found.at(stray, "a subscriber has one event; write another function for another one");
    }
    Some(event)
}

fn takes(function: &Function, event: Option<&Type>, found: &mut Mistakes) -> Vec<Type> {
    let takes = function.arguments(A_SUBSCRIBER, found);
    let wanted = event.map_or_else(|| "TheEvent".to_owned(), display);
    match takes.first() {
        None if function.signature.receiver().is_none() => {
            let message = format!(
                "a subscriber takes its event; write `event: {wanted}` as the first argument"
            );
            found.at(&function.signature.ident, message);
        }
        Some(argument) if comes_later(argument) => {
            let message =
                format!("the event comes first; write `event: {wanted}` before this argument");
            found.at(argument, message);
        }
        Some(Type::Reference(reference)) => {
            let message = format!(
                "the event is taken by value, a copy of the subscriber's own; write `event: {wanted}`"
            );
            found.at(reference, message);
        }
        _ => {}
    }
    let transactions = takes.iter().skip(1).filter(
        |argument| matches!(argument, Type::Reference(reference) if reference.mutability.is_some()),
    );
    for second in transactions.skip(1) {
        found.at(second, "a task completes in one transaction; remove this argument");
    }
    takes
}

/// Whether the tokens say that this is no event but one of the arguments that may follow it.
fn comes_later(argument: &Type) -> bool {
    match argument {
        Type::Reference(reference) => reference.mutability.is_some(),
        argument => ["State", "TaskContext"].iter().any(|name| is_called(argument, name)),
    }
}

fn returns(function: &Function, found: &mut Mistakes) -> Option<Type> {
    let output = function.output()?;
    if let Type::ImplTrait(_) | Type::Never(_) = output {
        let message = match function.signature.asyncness {
            Some(_) => {
                "a subscriber returns `()`, `Result<(), Failure>`, or `Result<(), E>` with any error `E`"
            }
            None => {
                "a subscriber returns `()`, `Result<(), Failure>`, or `Result<(), E>` with any error `E`; to await in it, write `async fn`"
            }
        };
        found.at(output, message);
    }
    Some(output.clone())
}

fn aliases(arguments: &Arguments, found: &mut Mistakes) -> Vec<LitStr> {
    let aliases = arguments.names("alias", found);
    for (index, alias) in aliases.iter().enumerate() {
        if aliases[..index].iter().any(|earlier| earlier.value() == alias.value()) {
            found.at(alias, "this alias is given twice; keep one");
        }
    }
    aliases
}

fn max_retries(arguments: &Arguments, found: &mut Mistakes) -> Option<u32> {
    let (value, written) = arguments.integer("max_retries", found)?;
    let retries = u32::try_from(value).ok().filter(|retries| *retries <= MOST_RETRIES);
    if retries.is_none() {
        found.at(written, format!("`max_retries` is a number from 0 to {MOST_RETRIES}"));
    }
    retries
}

fn retry_backoff(
    arguments: &Arguments,
    found: &mut Mistakes,
) -> Option<(Duration, Option<Duration>)> {
    let text = arguments.text("retry_backoff", found)?;
    let value = text.value();
    let (initial, maximum) = match value.split_once("..") {
        Some((initial, maximum)) => (initial, Some(maximum)),
        None => (value.as_str(), None),
    };
    let mut read =
        |part: &str| values::duration(part.trim()).map_err(|message| found.at(&text, message)).ok();
    let initial = read(initial);
    let maximum = maximum.map(read);
    match (initial?, maximum) {
        (initial, None) => Some((initial, None)),
        (initial, Some(maximum)) => {
            let maximum = maximum?;
            if maximum < initial {
                found.at(&text, "the longest pause comes second: `retry_backoff = \"1s..1h\"`");
            }
            Some((initial, Some(maximum)))
        }
    }
}

fn debounce(arguments: &Arguments, found: &mut Mistakes) -> Option<Debounce> {
    let window = arguments.duration("debounce", found);
    let by = arguments.ident("debounce_by", found);
    let longest = arguments.duration("debounce_max", found);
    if let (Some(key), Some(_)) = (arguments.key("delay"), arguments.key("debounce")) {
        found.at(
            key,
            "`delay` waits once, `debounce` until its key is quiet, which is at least as long; keep one",
        );
    }
    match (window, longest, arguments.key("debounce"), arguments.key("debounce_max")) {
        (_, _, None, Some(key)) => found.at(
            key,
            "`debounce_max` is how long a busy key may wait; add the window: `debounce = \"30s\"`",
        ),
        (Some(window), Some(longest), _, Some(key)) if longest < window => found.at(
            key,
            "`debounce_max` is how long a busy key may wait; make it at least as long as `debounce`",
        ),
        _ => {}
    }
    match (arguments.key("debounce"), arguments.key("debounce_by")) {
        (Some(key), None) => found.at(
            key,
            "`debounce` keeps one waiting task per key; add the field that is the key: `debounce_by = field_of_the_event`",
        ),
        (None, Some(key)) => {
            found.at(key, "`debounce_by` needs a window; add `debounce = \"30s\"`");
        }
        _ => {}
    }
    Some(Debounce { window: window?, longest, by: by? })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::super::parse;
    use super::*;

    fn model(arguments: TokenStream, item: TokenStream) -> Result<Subscriber, Vec<String>> {
        let parsed = parse::parse(arguments, item).expect("a function");
        Subscriber::new(&parsed)
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn every_key_is_understood() {
        let subscriber = model(
            quote!(
                a::Changed,
                queue = "slow",
                max_retries = 8,
                retry_backoff = "1s..1h",
                timeout = "30s",
                priority = -1,
                debounce = "2m",
                debounce_by = id,
                debounce_max = "1h",
                reconciled_by = sweeps::all,
                name = "events.changed",
                alias = "events.old",
                alias = "events.older"
            ),
            quote!(
                async fn on(event: a::Changed, State(pool): State<Pool>) -> Result<(), Failure> {}
            ),
        )
        .unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!(subscriber.max_retries, Some(8));
        assert_eq!(
            subscriber.retry_backoff,
            Some((Duration::from_secs(1), Some(Duration::from_hours(1))))
        );
        assert_eq!(subscriber.timeout, Some(Duration::from_secs(30)));
        assert_eq!(subscriber.delivery.priority, -1);
        let debounce = subscriber.debounce.expect("it is given");
        assert_eq!(debounce.window, Duration::from_mins(2));
        assert_eq!(debounce.longest, Some(Duration::from_hours(1)));
        assert_eq!(subscriber.aliases.len(), 2);
        assert_eq!(subscriber.takes.len(), 2);
        assert!(subscriber.is_async && !subscriber.delivery.freshness_only);
    }

    #[test]
    fn delays_are_understood_and_waits_that_exclude_each_other_refused() {
        let item = || {
            quote!(
                async fn on(event: A) {}
            )
        };
        let subscriber = model(quote!(A, delay = "5m"), item()).unwrap_or_else(|_| panic!());
        assert_eq!(subscriber.delivery.delay, Some(Duration::from_mins(5)));
        let mistakes = |arguments| model(arguments, item()).err().expect("mistakes");
        let both = mistakes(quote!(A, delay = "5m", debounce = "1s", debounce_by = id));
        assert!(both[0].contains("keep one"), "{both:?}");
        let short = mistakes(quote!(A, debounce = "5m", debounce_by = id, debounce_max = "1m"));
        assert!(short[0].contains("at least as long"), "{short:?}");
        let alone = mistakes(quote!(A, debounce_max = "1m"));
        assert!(alone[0].contains("add the window"), "{alone:?}");
    }

    #[test]
    fn all_mistakes_of_one_subscriber_are_reported_at_once() {
        let errors = model(
            quote!(A, queue = "a b", max_retries = 1001, timeout = "0s", debounce = "1s"),
            quote!(
                fn on<T>(event: &A, x: &mut T, y: &mut T) {}
            ),
        )
        .err()
        .expect("mistakes");
        assert_eq!(errors.len(), 7, "{errors:#?}");
    }
}
