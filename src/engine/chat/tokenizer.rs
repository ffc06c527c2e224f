//! A chat model's tokenizer and chat template, without its weights.

use std::{io::Read, path::Path, sync::Arc};

use llama_cpp_2::{
    model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
};

use super::{
    ChatMessage, Prompt,
    backend::{backend, forget_errors, last_error},
};
use crate::Error;

/// Characters of Unicode's private use, that stand for a message's content while the template is filled.
const OPEN: char = '\u{f0711}';
const CLOSE: char = '\u{f0712}';

/// Turns text into a chat model's tokens and back. Cheap to clone.
#[derive(Clone)]
pub struct ChatTokenizer {
    model: Arc<LlamaModel>,
    template: Arc<LlamaChatTemplate>,
}

impl ChatTokenizer {
    /// Reads vocabulary and template from a GGUF file, leaving the weights unread.
    ///
    /// # Errors
    /// [`Error::ReadModel`], [`Error::ModelFormat`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let model = load(path, LlamaModelParams::default().with_vocab_only(true))?;
        // A model without a template of its own is one that has learnt none; ChatML is what most have.
        let chatml = || LlamaChatTemplate::new("chatml").map_err(|error| Error::Template { source: Box::new(error) });
        let template = model.chat_template(None).or_else(|_| chatml())?;
        Ok(Self { model: Arc::new(model), template: Arc::new(template) })
    }

    /// Returns the tokens of a text, without marks. Control tokens written in the text are text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.tokens(text, false, false)
    }

    /// Returns the tokens of a conversation, laid out with the model's chat template; `answer_follows` ends it with the opening
    /// of the assistant's turn.
    ///
    /// Only the template's own text can yield control tokens: a message that contains `<|im_end|>` ends nothing.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without messages, [`Error::Template`] when a role is not a word or the template is unknown.
    pub fn encode_chat(&self, messages: &[ChatMessage], answer_follows: bool) -> Result<Vec<u32>, Error> {
        if messages.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let mut stand_ins = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let role = &message.role;
            if role.is_empty() || role.len() > 20 || !role.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return Err(Error::Template { source: format!("`{}` is no role", role.escape_debug()).into() });
            }
            let stand_in = LlamaChatMessage::new(role.clone(), format!("{OPEN}{index}{CLOSE}"));
            stand_ins.push(stand_in.map_err(|error| Error::Template { source: Box::new(error) })?);
        }
        let laid_out = self
            .model
            .apply_chat_template(&self.template, &stand_ins, answer_follows)
            .map_err(|error| Error::Template { source: Box::new(error) })?;
        let mut tokens = Vec::new();
        for (part, text) in laid_out.split(OPEN).enumerate() {
            let (index, frame) = if part == 0 { ("", text) } else { text.split_once(CLOSE).unwrap_or((text, "")) };
            if let Some(message) = index.parse().ok().and_then(|index: usize| messages.get(index)) {
                tokens.extend(self.encode(&message.content));
            }
            tokens.extend(self.tokens(frame, part == 0, true));
        }
        let begin = self.model.vocab().bos().0;
        if tokens.len() > 1 && tokens[0] == tokens[1] && i64::from(tokens[0]) == i64::from(begin) {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    /// Returns the tokens a model goes on from.
    ///
    /// # Errors
    /// As [`Self::encode_chat`]; [`Error::EmptyPrompt`] when nothing is left to go on from.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        let tokens = match prompt {
            Prompt::Messages(messages) => self.encode_chat(messages, true)?,
            Prompt::Text(text) => self.tokens(text, true, true),
        };
        if tokens.is_empty() { Err(Error::EmptyPrompt) } else { Ok(tokens) }
    }

    /// Returns how many tokens a text has, without marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.encode(text).len()
    }

    /// Returns the text of tokens, control tokens left out; bytes that are no character become U+FFFD, ids outside the vocabulary
    /// nothing.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let vocab = self.model.vocab();
        let mut bytes = Vec::new();
        for token in tokens.iter().filter(|token| (**token as usize) < self.vocabulary()) {
            bytes.extend(vocab.token_to_piece(LlamaToken(*token as i32), false, None));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the token that ends a text.
    pub fn eos(&self) -> u32 {
        u32::try_from(self.model.vocab().eos().0).unwrap_or(0)
    }

    /// Returns the number of tokens there are.
    pub fn vocabulary(&self) -> usize {
        usize::try_from(self.model.vocab().n_tokens()).unwrap_or(0)
    }

    fn tokens(&self, text: &str, begin: bool, control: bool) -> Vec<u32> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), begin, control);
        tokens.into_iter().filter_map(|token| u32::try_from(token.0).ok()).collect()
    }
}

/// Opens a GGUF file after checking that it is one: llama.cpp gives no reason for what it cannot open.
pub(super) fn load(path: &Path, params: LlamaModelParams) -> Result<LlamaModel, Error> {
    check_gguf(path)?;
    forget_errors();
    LlamaModel::load_from_file(backend()?, path, &params)
        .map_err(|error| Error::ModelFormat { path: path.to_owned(), reason: last_error(&error.to_string()) })
}

/// Checks that `path` is a regular file that starts as a GGUF file does.
pub(super) fn check_gguf(path: &Path) -> Result<(), Error> {
    let unreadable = |source| Error::ReadModel { path: path.to_owned(), source };
    let mut file = base::file::open_regular(path).map_err(|error| unreadable(Box::new(error)))?;
    let mut mark = [0; 4];
    file.read_exact(&mut mark).map_err(|error| unreadable(Box::new(error)))?;
    if mark != *b"GGUF" {
        return Err(Error::ModelFormat {
            path: path.to_owned(),
            reason: "it does not start with the mark `GGUF`".into(),
        });
    }
    Ok(())
}
