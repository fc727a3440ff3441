//! What a run can prove: a receipt (in-toto Statement v1 with SLSA provenance v1) in a DSSE envelope, and bills of materials.
//! Pure functions from a run record and the digests of its files; only the key is read from a file.

mod dsse;
mod purl;
mod sbom;
mod statement;

pub use dsse::{Envelope, EnvelopeError, ReceiptKey, public_key};
pub use sbom::{image_sbom, package_sbom};
pub use statement::{BUILD_TYPE, statement};

/// The names of a run's receipt and of the signatures over it.
pub const RECEIPT: &str = "receipt.json";
/// See [`RECEIPT`]; it is missing where nobody signed.
pub const SIGNATURES: &str = "receipt.signatures.json";
