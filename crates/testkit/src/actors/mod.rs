//! Those who use the server: a visitor with a browser, an app with a bearer.

mod app;
mod follower;
mod visitor;

pub use app::App;
pub use follower::Follower;
pub use visitor::Visitor;
