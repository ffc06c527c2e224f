#!/usr/bin/env python3
"""Checks a trained adapter with torch, transformers and PEFT against what our engine computed.

    python tests/peft_check.py MODEL.gguf ADAPTER_DIR [ENGINE_CHECK.json]

The base model is built from the same GGUF file in f32; the adapter directory is loaded by PEFT as it
is. ENGINE_CHECK.json (by default the one in the directory) holds token ids and, for each position, the
engine's likeliest tokens with the logarithms of their probabilities. Prints the share of positions with
the same likeliest token and the mean KL divergence (PEFT from engine, the tokens not listed as one), and
exits with 1 when they are below 95 % or above 0.02.

Needs: torch transformers peft gguf
"""

import json
import math
import os
import sys

LEAST_TOP1 = 0.95
MOST_KL = 0.02


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    gguf, adapter = os.path.abspath(sys.argv[1]), sys.argv[2]
    check = sys.argv[3] if len(sys.argv) == 4 else os.path.join(adapter, "engine_check.json")

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with open(check, encoding="utf-8") as file:
        engine = json.load(file)
    if engine["format"] != 1:
        print(f"{check}: format {engine['format']} is not known", file=sys.stderr)
        return 2
    torch.set_grad_enabled(False)
    directory, name = os.path.split(gguf)
    base = AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.float32)
    model = PeftModel.from_pretrained(base.eval(), adapter).eval()
    trained = [value for key, value in model.named_parameters() if "lora_B" in key]
    if not trained or any(not bool(value.abs().sum() > 0) for value in trained):
        print("PEFT loaded an adapter that changes nothing", file=sys.stderr)
        return 1
    ours = torch.log_softmax(model(torch.tensor([engine["tokens"]])).logits[0].double(), dim=-1)

    same, divergence = 0, 0.0
    for row, likeliest in zip(ours, engine["likeliest"], strict=True):
        same += int(row.argmax()) == likeliest[0][0]
        ids = torch.tensor([entry[0] for entry in likeliest])
        theirs = torch.tensor([entry[1] for entry in likeliest], dtype=torch.float64)
        listed = row[ids]
        divergence += float((listed.exp() * (listed - theirs)).sum())
        rest, their_rest = 1.0 - float(listed.exp().sum()), 1.0 - float(theirs.exp().sum())
        if rest > 1e-9:
            divergence += rest * math.log(rest / max(their_rest, 1e-9))
    top1, mean_kl = same / len(ours), divergence / len(ours)
    print(f"positions {len(ours)}, top-1 agreement {top1:.4f}, mean KL {mean_kl:.6f}")
    return 0 if top1 >= LEAST_TOP1 and mean_kl <= MOST_KL else 1


if __name__ == "__main__":
    sys.exit(main())
