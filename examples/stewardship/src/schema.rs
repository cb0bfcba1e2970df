//! The application's tables.

use crate::database::{self, Pool};

/// The statements that make them.
const SCHEMA: &str = include_str!("schema.sql");

/// Creates the tables, in a database that may have them already.
///
/// # Errors
/// The database cannot be written, or has a table of one of these names already.
pub async fn create(pool: &Pool) -> Result<(), sqlx::Error> {
    let mut transaction = database::begin_alone(pool).await?;
    let done: bool = sqlx::query_scalar(database::HAS_SCHEMA).fetch_one(&mut *transaction).await?;
    if !done {
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
