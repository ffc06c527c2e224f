#!/usr/bin/env python3
"""The official `openai` client against 0711's roles and gateway.

    openai_client.py --llm URL --embed URL --token-file FILE
    openai_client.py --gateway URL --gateway-token-file FILE

Each URL is a base such as http://127.0.0.1:5160 and is optional; what is given is checked. Needs `pip install openai`.
Prints one line per check; ends with 1 if one fails.
"""

import argparse
import math
import pathlib
import sys

import openai

TIMEOUT_SECONDS = 120
failures = 0


def check(what, holds, found=None):
    global failures
    if holds:
        print(f"ok    {what}")
    else:
        failures += 1
        print(f"FAIL  {what}: {found!r}")


def refuses(what, error, call):
    """Checks that `call` is refused with the client's exception for that status."""
    try:
        found = call()
    except error as refused:
        body = refused.body if isinstance(refused.body, dict) else {}
        check(what, bool(body.get("message")), refused.body)
    except openai.OpenAIError as other:
        check(what, False, other)
    else:
        check(what, False, found)


def client(url, token):
    return openai.OpenAI(base_url=f"{url.rstrip('/')}/v1", api_key=token, max_retries=0, timeout=TIMEOUT_SECONDS)


def check_door(name, url, token):
    stranger = client(url, "not-the-token")
    refuses(f"{name}: a wrong token is refused", openai.AuthenticationError, stranger.models.list)
    models = [model.id for model in client(url, token).models.list()]
    check(f"{name}: models are listed", len(models) > 0, models)
    one = client(url, token).models.retrieve(models[0])
    check(f"{name}: a model is found by its name", one.id == models[0], one)
    refuses(f"{name}: an unknown model is not found", openai.NotFoundError, lambda: client(url, token).models.retrieve("gpt-none"))
    return models


def check_chat(name, api, model, question):
    messages = [{"role": "user", "content": question}]
    whole = api.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=48)
    text = whole.choices[0].message.content
    check(f"{name}: {model} answers a chat", whole.choices[0].finish_reason in ("stop", "length") and bool(text), whole)
    check(f"{name}: {model} counts tokens", whole.usage is not None and whole.usage.completion_tokens > 0, whole.usage)
    options = {"include_usage": True}
    stream = api.chat.completions.create(
        model=model, messages=messages, temperature=0, max_tokens=48, stream=True, stream_options=options
    )
    parts, reasons, usage = [], [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            parts.append(choice.delta.content or "")
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
    check(f"{name}: {model} streams an answer", bool("".join(parts)) and len(reasons) == 1, (parts, reasons))
    check(f"{name}: {model} streams its usage", usage is not None and usage.total_tokens > 0, usage)
    refuses(
        f"{name}: an unknown model does not answer",
        openai.NotFoundError,
        lambda: api.chat.completions.create(model="gpt-none", messages=messages),
    )
    return text, "".join(parts)


def check_llm(url, token):
    models = check_door("llm", url, token)
    check("llm: the base model is there", "base" in models, models)
    api = client(url, token)
    for model in models:
        text, streamed = check_chat("llm", api, model, "What is the capital of France?")
        check(f"llm: {model} says the same streamed and whole", text == streamed, (text, streamed))
    whole = api.completions.create(model="base", prompt="The capital of France is", temperature=0, max_tokens=8)
    check("llm: a text is continued", "Paris" in whole.choices[0].text, whole)
    stream = api.completions.create(model="base", prompt="The capital of France is", temperature=0, max_tokens=8, stream=True)
    streamed = "".join(choice.text for chunk in stream for choice in chunk.choices)
    check("llm: a text is continued in a stream", streamed == whole.choices[0].text, streamed)
    long = [{"role": "user", "content": "word " * 20_000}]
    refuses(
        "llm: a prompt that does not fit is refused",
        openai.BadRequestError,
        lambda: api.chat.completions.create(model="base", messages=long),
    )


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b))


def check_embeddings(name, api, model):
    texts = ["Die Pumpe wiegt 18 kg.", "Our canteen opens at eleven."]
    default = api.embeddings.create(model=model, input=texts)
    vectors = [row.embedding for row in default.data]
    check(f"{name}: texts become vectors", [len(v) for v in vectors] == [384, 384], vectors)
    check(f"{name}: vectors have length one", all(math.isclose(cosine(v, v), 1, abs_tol=1e-4) for v in vectors), None)
    plain = api.embeddings.create(model=model, input=texts[0], encoding_format="float")
    check(f"{name}: float and base64 agree", cosine(plain.data[0].embedding, vectors[0]) > 0.9999, None)
    query = api.embeddings.create(model=model, input="Wie schwer ist die Pumpe?", extra_body={"input_type": "query"})
    scores = [cosine(query.data[0].embedding, v) for v in vectors]
    check(f"{name}: a question is nearest its answer", scores[0] > scores[1], scores)
    refuses(
        f"{name}: tokens are refused", openai.BadRequestError, lambda: api.embeddings.create(model=model, input=[1, 2, 3])
    )
    refuses(
        f"{name}: an unknown model makes no vectors",
        openai.NotFoundError,
        lambda: api.embeddings.create(model="gpt-none", input="text"),
    )


def check_embed(url, token):
    models = check_door("embed", url, token)
    check_embeddings("embed", client(url, token), models[0])


def check_gateway(url, token):
    models = check_door("gateway", url, token)
    check("gateway: the brain is there", "brain" in models, models)
    api = client(url, token)
    check_chat("gateway", api, "brain", "Wie lange gilt die Gewährleistung?")
    embedders = [model for model in models if "e5" in model]
    check("gateway: the embedding model is there", len(embedders) > 0, models)
    for model in embedders:
        check_embeddings("gateway", api, model)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for role in ("llm", "embed", "gateway"):
        arguments.add_argument(f"--{role}", metavar="URL")
    arguments.add_argument("--token-file", metavar="FILE", type=pathlib.Path, help="the roles' token")
    arguments.add_argument("--gateway-token-file", metavar="FILE", type=pathlib.Path, help="the gateway's token")
    given = arguments.parse_args()
    if (given.llm or given.embed) and not given.token_file:
        arguments.error("--llm and --embed need --token-file")
    if given.gateway and not given.gateway_token_file:
        arguments.error("--gateway needs --gateway-token-file")
    if not (given.llm or given.embed or given.gateway):
        arguments.error("nothing to check: give --llm, --embed or --gateway")
    if given.llm:
        check_llm(given.llm, given.token_file.read_text().strip())
    if given.embed:
        check_embed(given.embed, given.token_file.read_text().strip())
    if given.gateway:
        check_gateway(given.gateway, given.gateway_token_file.read_text().strip())
    print(f"{failures} checks failed" if failures else "all checks passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
