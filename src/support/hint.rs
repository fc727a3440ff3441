/// An error that knows what the user can do about it.
///
/// Every error type of the program implements it; the command line prints `Error: …`, the chain of causes, and the hint.
pub trait Hint: std::error::Error {
    /// One sentence: what to do next.
    fn hint(&self) -> String;
}
