//! Handling of output to a pipe whose reader has exited.

/// Exit code of a program that SIGPIPE terminated, as shells report it.
const BROKEN_PIPE: i32 = 141;

/// Installs a panic hook that ends the process with code 141, without a message, if printing to standard output or
/// standard error fails because the pipe has no reader, as in `… | head -1`. Other panics are left to the previous
/// hook. Not for daemons, which have to continue.
pub fn exit_on_broken_pipe() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        if is_broken_pipe(text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default()) {
            std::process::exit(BROKEN_PIPE);
        }
        previous(panic);
    }));
}

/// Exits with code 141 if a write error is that of a pipe without a reader; returns otherwise.
pub(crate) fn exit_if_broken(why: &std::io::Error) {
    if why.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(BROKEN_PIPE);
    }
}

/// Returns `true` if a panic message is that of `print!` or `eprint!` to a pipe without a reader.
fn is_broken_pipe(text: &str) -> bool {
    text.starts_with("failed printing to std") && text.contains("Broken pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_panic_of_printing_is_meant() {
        assert!(is_broken_pipe("failed printing to stdout: Broken pipe (os error 32)"));
        assert!(!is_broken_pipe("failed printing to stdout: No space left on device (os error 28)"));
        assert!(!is_broken_pipe("a message about a Broken pipe"));
    }
}
