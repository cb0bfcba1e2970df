//! The application's tables.

use sqlx::SqlitePool;

/// The statements that make them; each leaves alone what exists.
const SCHEMA: &str = include_str!("schema.sql");

/// Creates the tables, in a database that may have them already.
///
/// # Errors
/// The database cannot be written, or has a table of one of these names that looks different.
pub async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    transaction.commit().await
}
