//! Who an account is, as far as that can be read without a network: DID documents, and the records of handles.

mod did_document;
mod handle_records;
mod web;

pub use did_document::{DidDocumentError, Identity};
pub use handle_records::{TwoDids, did_of_records, handle_record_name};
pub use web::web_document_url;
