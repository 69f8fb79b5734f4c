//! The one writer: a task that owns the connection and commits what is queued together (group commit).
//!
//! An fsync costs milliseconds and a statement microseconds, so whoever comes while a commit is under way shares the
//! next one. A job that fails is undone alone: one of several statements has a savepoint of its own, and a single
//! statement undoes itself. Where only a few single statements wait, they are one trip. A caller that gives up does not
//! stop its job, so a write is never cut in the middle.

use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

use super::health::Health;
use super::statements::{Done, TOGETHER, Together, run_one};
use crate::engine::{Connection, Urgency};
use crate::failure::{refusal, store_error, unavailable};
use crate::statement::Statement;

/// Jobs that wait before callers do.
const QUEUE: usize = 1024;
/// Jobs in one commit at most, so that the first of them does not wait long for the last.
const BATCH: usize = 64;

/// Hands writes to the writing task; the task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    urgent: mpsc::Sender<Queued>,
    quiet: mpsc::Sender<Queued>,
    orders: mpsc::Sender<Order>,
}

/// A write in the queue.
enum Queued {
    /// One statement, which undoes itself when it fails.
    Statement(QueuedStatement),
    /// Several, with a savepoint before them.
    Job(Box<dyn Job>),
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    /// It was refused, which leaves the transaction as it was.
    Refused,
    /// It failed otherwise (disk full, I/O), and SQLite may have ended the whole transaction.
    Failed,
}

impl Ended {
    fn of<T>(outcome: &Result<T, StoreError>) -> Self {
        match outcome {
            Ok(_) => Self::Well,
            Err(StoreError::Refused(_)) => Self::Refused,
            Err(_) => Self::Failed,
        }
    }
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

    /// Runs a job in a transaction of which others may be part, and answers once its commit is durable.
    pub(super) async fn write<T, F>(&self, urgency: Urgency, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = QueuedJob { job: Some(job), outcome: None, answer };
        self.queue(urgency, Queued::Job(Box::new(job)), answered).await
    }

    /// The same for one statement.
    pub(super) async fn write_one(&self, urgency: Urgency, statement: Statement) -> Result<Done, StoreError> {
        let (answer, answered) = oneshot::channel();
        let statement = QueuedStatement { statement, outcome: None, answer };
        self.queue(urgency, Queued::Statement(statement), answered).await
    }

    async fn queue<T>(&self, urgency: Urgency, write: Queued, answered: Answered<T>) -> Result<T, StoreError> {
        let queue = match urgency {
            Urgency::Now => &self.urgent,
            Urgency::WhenQuiet => &self.quiet,
        };
        queue.send(write).await.map_err(|_| closed())?;
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

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
type Answered<T> = oneshot::Receiver<Result<T, StoreError>>;

struct QueuedStatement {
    statement: Statement,
    outcome: Option<Result<Done, StoreError>>,
    answer: Answer<Done>,
}

/// A job in the queue, with its result's type hidden.
trait Job: Send {
    /// Runs it.
    fn run<'c>(&'c mut self, connection: Connection<'c>) -> BoxFuture<'c, Ended>;
    /// Tells the caller, once the commit is made or has failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct QueuedJob<T, F> {
    job: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    answer: Answer<T>,
}

impl<T, F> Job for QueuedJob<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    fn run<'c>(&'c mut self, connection: Connection<'c>) -> BoxFuture<'c, Ended> {
        Box::pin(async move {
            let Some(job) = self.job.take() else { return Ended::Failed };
            let outcome = job(connection).await;
            let ended = Ended::of(&outcome);
            self.outcome = Some(outcome);
            ended
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        tell(self.answer, self.outcome, committed);
    }
}

impl QueuedStatement {
    /// Runs it by itself. A failure says that nobody knows what became of the transaction.
    async fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let outcome = run_one(connection, &self.statement).await.map_err(store_error);
        let ended = Ended::of(&outcome);
        self.outcome = Some(outcome);
        match ended {
            Ended::Well | Ended::Refused => Ok(()),
            Ended::Failed => Err(sqlx::Error::Protocol("a write of the same commit failed".to_owned())),
        }
    }
}

impl Queued {
    fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Statement(queued) => Some(&queued.statement),
            Self::Job(_) => None,
        }
    }

    fn answer(self, committed: Result<(), StoreError>) {
        match self {
            Self::Statement(QueuedStatement { outcome, answer, .. }) => tell(answer, outcome, committed),
            Self::Job(job) => job.answer(committed),
        }
    }
}

fn tell<T>(answer: Answer<T>, outcome: Option<Result<T, StoreError>>, committed: Result<(), StoreError>) {
    let told = match (outcome, committed) {
        (Some(Err(own)), _) => Err(own),
        (_, Err(error)) => Err(error),
        (Some(Ok(value)), Ok(())) => Ok(value),
        (None, Ok(())) => Err(closed()),
    };
    let _caller_left = answer.send(told);
}

struct Task {
    options: SqliteConnectOptions,
    health: Arc<Health>,
    connection: Option<SqliteConnection>,
    urgent_jobs: mpsc::Receiver<Queued>,
    quiet_jobs: mpsc::Receiver<Queued>,
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
    async fn commit_with(&mut self, first: Queued) {
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

    async fn transaction(&mut self, batch: &mut [Queued]) -> Result<(), sqlx::Error> {
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

/// Runs the writes in one transaction. An error here means that nothing of the batch is kept.
async fn run_all(connection: &mut SqliteConnection, batch: &mut [Queued]) -> Result<(), sqlx::Error> {
    // A statement by itself is its own transaction.
    if let [Queued::Statement(alone)] = batch {
        return alone.run(connection).await;
    }
    if batch.len() <= TOGETHER && batch.iter().all(|write| matches!(write, Queued::Statement(_))) {
        let together = Together::of(batch.iter().filter_map(Queued::statement))?;
        match together.run(connection).await {
            Ok(done) => return keep(batch, done),
            // One of them is refused, and the others must not be: once more, and looked at one by one.
            Err(error) if refusal(&error).is_some() => control(connection, "ROLLBACK").await?,
            Err(error) => return Err(error),
        }
    }
    // Takes the write lock at once, so that no statement in between can fail for want of it.
    control(connection, "BEGIN IMMEDIATE").await?;
    for write in batch {
        match write {
            // A refusal undoes the statement and nothing else. After anything worse nobody knows whether there is a
            // transaction still, so that what follows might be committed by itself.
            Queued::Statement(statement) => statement.run(connection).await?,
            Queued::Job(job) => {
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

/// Keeps what each of a batch of statements did.
fn keep(batch: &mut [Queued], done: Vec<Done>) -> Result<(), sqlx::Error> {
    if done.len() != batch.len() {
        return Err(sqlx::Error::Protocol(format!("{} statements ended {} times", batch.len(), done.len())));
    }
    for (write, done) in batch.iter_mut().zip(done) {
        if let Queued::Statement(statement) = write {
            statement.outcome = Some(Ok(done));
        }
    }
    Ok(())
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
