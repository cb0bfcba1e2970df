//! What a reconciler is, and every rule about one that can be decided without knowing types.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use syn::{LitStr, Type, Visibility};

use super::parse::Parsed;
use crate::cron;
use crate::function::{Function, is_called};
use crate::keys::Arguments;
use crate::mistakes::Mistakes;

const A_RECONCILER: &str = "a reconciler";

pub(super) struct Reconciler {
    pub(super) krate: TokenStream,
    pub(super) visibility: Visibility,
    pub(super) ident: Ident,
    /// The types of the arguments; the first is that of the scope.
    pub(super) takes: Vec<Type>,
    pub(super) returns: Type,
    pub(super) cadence: Option<Cadence>,
    pub(super) name: Option<LitStr>,
}

/// When it runs by itself.
pub(super) struct Cadence {
    pub(super) schedule: Schedule,
    pub(super) jitter: Duration,
    pub(super) run_on_start: bool,
    /// `None`: what is usual for the schedule.
    pub(super) deadline: Option<Duration>,
}

pub(super) enum Schedule {
    Every(Duration),
    Cron { expression: LitStr, time_zone: LitStr },
}

impl Reconciler {
    pub(super) fn new(parsed: &Parsed) -> syn::Result<Self> {
        let mut found = Mistakes::default();
        if let Some(error) = &parsed.mistakes {
            found.add(error.clone());
        }
        let Parsed { arguments, function, .. } = parsed;
        function.check_free(A_RECONCILER, &mut found);
        if function.signature.asyncness.is_none() {
            found.at(function.signature.fn_token, "a reconciler is async; write `async fn`");
        }
        let takes = function.arguments(A_RECONCILER, &mut found);
        if let Some(state) = takes.first().filter(|first| is_called(first, "State")) {
            found.at(state, "the scope comes first; write `scope: Scope` before this argument");
        }
        if takes.is_empty() && function.signature.receiver().is_none() {
            found.at(
                &function.signature.ident,
                "a reconciler takes what it is to look at; write `scope: Scope` as the first argument",
            );
        }
        let reconciler = Self {
            krate: arguments.krate(&mut found),
            visibility: function.visibility.clone(),
            ident: function.signature.ident.clone(),
            takes,
            returns: returns(function, &mut found),
            cadence: cadence(arguments, &mut found),
            name: arguments.names("name", &mut found).pop(),
        };
        found.check()?;
        Ok(reconciler)
    }
}

fn cadence(arguments: &Arguments, found: &mut Mistakes) -> Option<Cadence> {
    let schedule = schedule(arguments, found);
    let jitter = arguments.duration("jitter", found);
    let deadline = arguments.duration("deadline", found);
    let run_on_start = arguments.flag("run_on_start", found);
    if !["every", "cron", "time_zone"].iter().any(|key| arguments.has(key)) {
        for key in ["jitter", "run_on_start", "deadline"] {
            if let Some(key) = arguments.key(key) {
                let message = format!(
                    "`{key}` is about runs at a cadence; add `every = \"15m\"`, or `cron` and `time_zone`"
                );
                found.at(key, message);
            }
        }
    }
    let schedule = schedule?;
    if let Schedule::Every(every) = schedule {
        for (key, longest) in [("jitter", jitter), ("deadline", deadline)] {
            if let (Some(key), true) = (arguments.key(key), longest.is_some_and(|it| it > every)) {
                let message =
                    format!("make `{key}` at most as long as `every`: runs must not overlap");
                found.at(key, message);
            }
        }
    }
    Some(Cadence { schedule, jitter: jitter.unwrap_or_default(), run_on_start, deadline })
}

fn schedule(arguments: &Arguments, found: &mut Mistakes) -> Option<Schedule> {
    let every = arguments.duration("every", found);
    let mut checked = |key, check: fn(&str) -> Result<(), String>| {
        let text = arguments.text(key, found)?;
        check(&text.value()).map_err(|message| found.at(&text, message)).ok().map(|()| text)
    };
    let expression = checked("cron", cron::check_expression);
    let time_zone = checked("time_zone", cron::check_time_zone);
    let keys = ["every", "cron", "time_zone"].map(|key| arguments.key(key));
    match keys {
        [Some(_), Some(cron), _] => {
            found.at(cron, "`every` says when it runs already; keep one of `every` and `cron`");
        }
        [None, Some(cron), None] => found.at(
            cron,
            "`cron` is read on the clocks of a time zone; add one, such as `time_zone = \"UTC\"`",
        ),
        [_, None, Some(time_zone)] => found.at(
            time_zone,
            "`time_zone` is for `cron`; add `cron = \"0 3 * * *\"` beside it, or remove it",
        ),
        _ => {}
    }
    match (every, expression, time_zone) {
        (Some(every), ..) => Some(Schedule::Every(every)),
        (None, Some(expression), Some(time_zone)) => Some(Schedule::Cron { expression, time_zone }),
        _ => None,
    }
}

fn returns(function: &Function, found: &mut Mistakes) -> Type {
    const REMEDY: &str =
        "a reconciler says what it found and did; return `Result<Report, E>` with any error `E`";
    match function.output() {
        None => found.at(&function.signature.ident, REMEDY),
        Some(output @ (Type::ImplTrait(_) | Type::Never(_))) => found.at(output, REMEDY),
        Some(output) => return output.clone(),
    }
    syn::parse_quote!(())
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::super::parse;
    use super::*;

    fn model(arguments: TokenStream, item: TokenStream) -> Result<Reconciler, Vec<String>> {
        let parsed = parse::parse(arguments, item).expect("a function");
        Reconciler::new(&parsed)
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn every_key_is_understood() {
        let reconciler = model(
            quote!(
                every = "15m",
                jitter = "30s",
                run_on_start,
                deadline = "5m",
                name = "sweeps.all"
            ),
            quote!(
                async fn sweep(scope: Scope, pool: State<Pool>) -> Result<Report, Failure> {}
            ),
        )
        .unwrap_or_else(|errors| panic!("{errors:?}"));
        let cadence = reconciler.cadence.expect("it is given");
        assert!(
            matches!(cadence.schedule, Schedule::Every(every) if every == Duration::from_mins(15))
        );
        assert_eq!((cadence.jitter, cadence.run_on_start), (Duration::from_secs(30), true));
        assert_eq!(cadence.deadline, Some(Duration::from_mins(5)));
        assert_eq!(reconciler.takes.len(), 2);
    }

    #[test]
    fn what_belongs_to_a_cadence_is_refused_without_one_and_when_it_is_longer() {
        let item = || {
            quote!(
                async fn sweep(scope: Scope) -> Result<Report, Failure> {}
            )
        };
        let mistakes = |arguments| model(arguments, item()).err().expect("mistakes");
        assert_eq!(mistakes(quote!(jitter = "1s", run_on_start, deadline = "1s")).len(), 3);
        assert_eq!(mistakes(quote!(every = "1m", jitter = "2m", deadline = "2m")).len(), 2);
    }

    #[test]
    fn cron_expression_comes_with_its_time_zone_and_without_an_interval() {
        let item = || {
            quote!(
                async fn sweep(scope: Scope) -> Result<Report, Failure> {}
            )
        };
        let given = quote!(cron = "0 3 * * *", time_zone = "Europe/Berlin", jitter = "5m");
        let reconciler = model(given, item()).unwrap_or_else(|errors| panic!("{errors:?}"));
        let cadence = reconciler.cadence.expect("it is given");
        let Schedule::Cron { expression, time_zone } = cadence.schedule else {
            panic!("an interval")
        };
        assert_eq!(
            (expression.value(), time_zone.value()),
            ("0 3 * * *".into(), "Europe/Berlin".into())
        );
        assert_eq!((cadence.jitter, cadence.deadline), (Duration::from_mins(5), None));
        for (arguments, says) in [
            (quote!(cron = "0 3 * * *", deadline = "1h"), "add one, such as `time_zone = \"UTC\"`"),
            (quote!(time_zone = "UTC", jitter = "1m"), "add `cron = \"0 3 * * *\"` beside it"),
            (quote!(every = "1h", time_zone = "UTC"), "or remove it"),
            (quote!(every = "1h", cron = "0 3 * * *", time_zone = "UTC"), "keep one of"),
            (quote!(cron = "0 3 * *", time_zone = "UTC"), "such as \"0 3 * * *\""),
            (quote!(cron = "0 3 * * *", time_zone = "Mars"), "such as \"UTC\""),
            (quote!(cron = 3, time_zone = "UTC"), "write `cron = \"0 3 * * *\"`"),
        ] {
            let mistakes = model(arguments, item()).err().expect("a mistake");
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].contains(says), "{mistakes:?}");
        }
    }

    #[test]
    fn all_mistakes_of_one_reconciler_are_reported_at_once() {
        let errors = model(
            quote!(AnEvent, every = "0s", evry = "1s"),
            quote!(
                fn sweep() {}
            ),
        );
        assert_eq!(errors.err().expect("mistakes").len(), 6);
    }
}
