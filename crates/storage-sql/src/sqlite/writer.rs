//! The one writer: a task that owns the connection and commits what is queued together (group commit).
//!
//! An fsync costs milliseconds and a statement microseconds, so whoever comes while a commit is under way shares the
//! next one. A job that fails is undone alone: one of several statements has a savepoint of its own, and a single
//! statement undoes itself. A caller that gives up does not stop its job, so a write is never cut in the middle.

use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

use super::health::Health;
use crate::engine::{Connection, Urgency};
use crate::failure::{store_error, unavailable};

/// Jobs that wait before callers do.
const QUEUE: usize = 1024;
/// Jobs in one commit at most, so that the first of them does not wait long for the last.
const BATCH: usize = 64;

/// Hands jobs to the writing task; the task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    urgent: mpsc::Sender<Box<dyn Job>>,
    quiet: mpsc::Sender<Box<dyn Job>>,
    orders: mpsc::Sender<Order>,
}

/// What a job does, which decides how it is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// One statement. Two round trips to the connection's thread are saved, which is more than such a job costs itself.
    OneStatement,
    /// Several, with a savepoint before them.
    Several,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    /// It was refused, which leaves the transaction as it was.
    Refused,
    /// It failed otherwise (disk full, I/O), and SQLite may have ended the whole transaction.
    Failed,
}

/// What is done between commits.
enum Order {
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the task on a connection; a broken one is replaced with the options.
    pub(super) fn start(options: SqliteConnectOptions, connection: SqliteConnection, health: Arc<Health>) -> Self {
        let (urgent, urgent_jobs) = mpsc::channel(QUEUE);
        let (quiet, quiet_jobs) = mpsc::channel(QUEUE);
        let (orders, given_orders) = mpsc::channel(1);
        let task = Task { options, health, connection: Some(connection), urgent_jobs, quiet_jobs, given_orders };
        let _detached = tokio::spawn(task.run());
        Self { urgent, quiet, orders }
    }

    pub(super) async fn write<T, F>(&self, urgency: Urgency, extent: Extent, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let queue = match urgency {
            Urgency::Now => &self.urgent,
            Urgency::WhenQuiet => &self.quiet,
        };
        let queued = queue.send(Box::new(QueuedJob { job: Some(job), extent, outcome: None, answer })).await;
        queued.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Checkpoint(answer)).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Finishes what is queued, then closes the connection. Done already is fine.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Close(answer)).await.is_ok() {
            let _gone_already = answered.await;
        }
    }
}

/// A job in the queue, with its result's type hidden.
trait Job: Send {
    /// What it does.
    fn extent(&self) -> Extent;
    /// Runs it.
    fn run<'c>(&'c mut self, connection: Connection<'c>) -> BoxFuture<'c, Ended>;
    /// Tells the caller, once the commit is made or has failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct QueuedJob<T, F> {
    job: Option<F>,
    extent: Extent,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for QueuedJob<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    fn extent(&self) -> Extent {
        self.extent
    }

    fn run<'c>(&'c mut self, connection: Connection<'c>) -> BoxFuture<'c, Ended> {
        Box::pin(async move {
            let Some(job) = self.job.take() else { return Ended::Failed };
            let outcome = job(connection).await;
            let ended = match &outcome {
                Ok(_) => Ended::Well,
                Err(StoreError::Refused(_)) => Ended::Refused,
                Err(_) => Ended::Failed,
            };
            self.outcome = Some(outcome);
            ended
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let told = match (self.outcome, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(closed()),
        };
        let _caller_left = self.answer.send(told);
    }
}

struct Task {
    options: SqliteConnectOptions,
    health: Arc<Health>,
    connection: Option<SqliteConnection>,
    urgent_jobs: mpsc::Receiver<Box<dyn Job>>,
    quiet_jobs: mpsc::Receiver<Box<dyn Job>>,
    given_orders: mpsc::Receiver<Order>,
}

impl Task {
    async fn run(mut self) {
        let mut told_when_closed = None;
        while told_when_closed.is_none() {
            let first = tokio::select! {
                biased;
                Some(order) = self.given_orders.recv() => {
                    match order {
                        Order::Checkpoint(answer) => { let _caller_left = answer.send(self.checkpoint().await); }
                        Order::Close(answer) => told_when_closed = Some(answer),
                    }
                    continue;
                }
                Some(job) = self.urgent_jobs.recv() => job,
                Some(job) = self.quiet_jobs.recv() => job,
                else => break,
            };
            self.commit_with(first).await;
        }
        self.finish().await;
        if let Some(told) = told_when_closed {
            let _caller_left = told.send(());
        }
    }

    /// Commits a job together with those that wait: the urgent first, then, where there is room, the others.
    async fn commit_with(&mut self, first: Box<dyn Job>) {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(job) = self.urgent_jobs.try_recv().or_else(|_| self.quiet_jobs.try_recv()) else { break };
            batch.push(job);
        }
        let committed = self.transaction(&mut batch).await.map_err(Arc::new);
        if let Err(cause) = &committed {
            self.health.note_cause(cause);
        }
        for job in batch {
            job.answer(committed.clone().map_err(|cause| StoreError::Unavailable(Box::new(Shared(cause)))));
        }
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await?),
        };
        let done = run_all(connection, batch).await;
        if done.is_err()
            && let Some(mut broken) = self.connection.take()
        {
            // A full disk or an I/O error may have ended the transaction or not; a new connection surely has none.
            let undone = sqlx::query("ROLLBACK").execute(&mut broken).await;
            tracing::warn!(rolled_back = undone.is_ok(), "a commit failed; its writes are undone and reported as such");
            let _closed_or_not = broken.close().await;
        }
        done
    }

    async fn checkpoint(&mut self) -> Result<(), StoreError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let row: (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await.map_err(store_error)?;
        if row.0 == 0 { Ok(()) } else { Err(unavailable("another process reads the database; try again")) }
    }

    async fn finish(mut self) {
        self.urgent_jobs.close();
        self.quiet_jobs.close();
        while let Some(job) = self.urgent_jobs.recv().await {
            self.commit_with(job).await;
        }
        while let Some(job) = self.quiet_jobs.recv().await {
            self.commit_with(job).await;
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; its log is read at the next start");
        }
    }
}

/// Runs the jobs in one transaction. An error here means that nothing of the batch is kept.
async fn run_all(connection: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> Result<(), sqlx::Error> {
    // A statement by itself is its own transaction; two more trips to the connection's thread would cost more than it.
    if let [alone] = batch
        && alone.extent() == Extent::OneStatement
    {
        return run_alone(connection, alone.as_mut()).await;
    }
    // Takes the write lock at once, so that no statement in between can fail for want of it.
    control(connection, "BEGIN IMMEDIATE").await?;
    for job in batch {
        match job.extent() {
            // A refusal undoes the statement and nothing else. After anything worse nobody knows whether there is a
            // transaction still, so that what follows might be committed by itself.
            Extent::OneStatement => run_alone(connection, job.as_mut()).await?,
            Extent::Several => {
                control(connection, "SAVEPOINT job").await?;
                let ended = job.run(Connection::Sqlite(connection)).await;
                // When SQLite had to end the whole transaction (disk full), the savepoint is gone and this fails, as it
                // must: the jobs before this one are undone too, and must not be told otherwise.
                if ended != Ended::Well {
                    control(connection, "ROLLBACK TO job").await?;
                }
                control(connection, "RELEASE job").await?;
            }
        }
    }
    control(connection, "COMMIT").await
}

/// Runs a job whose failure says that nobody knows what became of the transaction.
async fn run_alone(connection: &mut SqliteConnection, job: &mut dyn Job) -> Result<(), sqlx::Error> {
    match job.run(Connection::Sqlite(connection)).await {
        Ended::Well | Ended::Refused => Ok(()),
        Ended::Failed => Err(sqlx::Error::Protocol("a write of the same commit failed".to_owned())),
    }
}

async fn control(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(|_| ())
}

fn closed() -> StoreError {
    unavailable("the database is closed")
}

/// One cause for every job of a batch.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<sqlx::Error>);
