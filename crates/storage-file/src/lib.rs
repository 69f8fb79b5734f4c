//! Small durable files beside the database, for what the database itself cannot say: which answers of issuers are on
//! their way into it, and how far it was when this folder last saw it.
//!
//! | module | what it holds |
//! |---|---|
//! | `spill` | [`FileSpill`]: the port, and the thread that writes (many appends share one disk write) |
//! | `ring` | one ring file: where entries lie, what may be overwritten |
//! | `look` | reading the rings of others, who go on writing meanwhile |
//! | `frame` | an entry as bytes: length, number, checksum; half-written ones are told from whole ones |
//! | `entry` | an entry as text: tokens are sealed already |
//! | `folder` | files for their owner alone, and the lock that gives each process a ring of its own |
//! | `marker` | [`InstallationMarker`]: the installation's id and epoch, and what a difference means |

mod entry;
mod folder;
mod frame;
mod look;
mod marker;
mod ring;
mod spill;

pub use marker::{InstallationMarker, Mark, MarkerError, Standing, standing};
pub use spill::{FileSpill, OpenSpillError, SPILL_BYTES};
