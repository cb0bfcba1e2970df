//! Beside real Celery, of both versions where that makes a difference.

/// Makes tests of functions that take a version.
macro_rules! of_both_versions {
    ($($promise:ident),+ $(,)?) => {
        mod newest {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(celery_fleet::Version::Newest).await;
            })+
        }

        mod old {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(celery_fleet::Version::Old).await;
            })+
        }
    };
}

/// The numbers of the program's tasks that Python has executed.
fn by_python(fleet: &celery_fleet::Fleet) -> Vec<u32> {
    let number = |args: &serde_json::Value| args[0]["number"].as_u64();
    let numbers = fleet.records().into_iter().filter_map(|record| number(&record.args));
    numbers.map(|number| number.try_into().expect("as it was published")).collect()
}

mod from_python;
mod kills;
mod shared_queue;
mod to_python;
mod visibility;
