//! Temporary.
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::Result;
/// x
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    short: bool,
}
impl Arguments {
    pub(crate) fn short() -> Self {
        Self { short: true }
    }
}
pub(crate) fn run(_ui: &Ui, _workspace: &Workspace, _arguments: &Arguments) -> Result<bool> {
    anyhow::bail!("none")
}
