//! What `#[publishes]` registers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::EventType;

/// A function marked `#[publishes]`. A `static` of the program.
pub struct Publisher {
    /// `module_path!()` of the function.
    pub module: &'static str,
    /// Its name.
    pub function: &'static str,
    /// `type_name` of an item nested in the function: the qualified path, for people. See
    /// [`path`](Self::path).
    pub anchor: fn() -> &'static str,
    /// Where it is declared.
    pub file: &'static str,
    /// The line of its declaration.
    pub line: u32,
    /// The events it declares.
    pub events: &'static [Declared],
}

/// One event in `#[publishes(…)]`.
#[derive(Debug)]
pub struct Declared {
    /// The event.
    pub event: EventType,
    /// Whether the function's body mentions the event's name.
    pub mentioned: bool,
    published: AtomicU64,
}

impl Declared {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(event: EventType, mentioned: bool) -> Self {
        Self { event, mentioned, published: AtomicU64::new(0) }
    }

    /// How often this process has published it from this function, committed or not.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }
}

impl Publisher {
    pub(crate) fn count(&self, event: &'static str) {
        for declared in self.events {
            if declared.event.name == event {
                declared.published.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The function's qualified path, such as `app::SystemStewards::add`.
    ///
    /// For people: its form is the compiler's best effort.
    #[must_use]
    pub fn path(&self) -> &'static str {
        let mut path = (self.anchor)();
        loop {
            let shorter = path
                .strip_suffix("::__events_anchor")
                .or_else(|| path.strip_suffix("::{{closure}}"))
                .or_else(|| path.strip_suffix("::_"));
            match shorter {
                Some(shorter) => path = shorter,
                None => return path,
            }
        }
    }

    /// `file:line`.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("function", &self.path())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
