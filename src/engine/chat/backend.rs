//! llama.cpp's process-wide state: started once, its log sent to `tracing`.

use std::{
    ffi::{CStr, c_char, c_void},
    panic,
    sync::{Mutex, OnceLock, PoisonError},
};

use llama_cpp_2::llama_backend::LlamaBackend;

use crate::Error;

/// llama.cpp reports failure by a null pointer and says why only in its log: the last error line is kept for our message.
static LAST_ERROR: Mutex<String> = Mutex::new(String::new());

/// Returns the started backend.
pub(super) fn backend() -> Result<&'static LlamaBackend, Error> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let started = BACKEND.get_or_init(|| {
        // SAFETY: `log` has the signature of a log callback, never unwinds, and needs no user data.
        unsafe { llama_cpp_sys_2::llama_log_set(Some(log), std::ptr::null_mut()) };
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    started.as_ref().map_err(|reason| Error::Backend { reason: reason.clone() })
}

/// Forgets earlier error lines, before a call whose failure [`last_error`] shall explain.
pub(super) fn forget_errors() {
    LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Returns what llama.cpp last logged as an error, or `otherwise`.
pub(super) fn last_error(otherwise: &str) -> String {
    let line = std::mem::take(&mut *LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner));
    if line.is_empty() { otherwise.to_owned() } else { line }
}

/// Receives llama.cpp's log. Its chatter on every load is for debugging only; a failure is reported once, by our error.
unsafe extern "C" fn log(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a text that ends in a zero byte and lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim();
    if line.is_empty() || line.chars().all(|c| c == '.') {
        return;
    }
    // A subscriber's panic must not unwind into C.
    let _ = panic::catch_unwind(|| tracing::debug!(target: "llama", "{line}"));
    if level == llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR {
        let mut last = LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner);
        *last = line.chars().take(300).collect();
    }
}
