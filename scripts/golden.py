"""Golden values for `saelab verify-model`, from files of other forms.

    python scripts/golden.py smollm2 smollm2-golden.json lm/tests/fixtures/smollm2-golden.json
    python scripts/golden.py gpt2 gpt2-golden.json lm/tests/fixtures/gpt2-golden.json

`smollm2` reads what `transformers` computed of SmolLM2-135M-Instruct (Q4_1) in float32: prompts, losses, residual streams, hooks,
tokenizer cases and prompts of the indirect-object task. `gpt2` reads next-token logits of GPT-2 small. Only the standard library is
needed. The format is described in lab/src/verify_model.rs.
"""

import json
import re
import sys
from pathlib import Path


def at_and_count(index, axes):
    """`-1, 8, :4` as the index of the first value, `[-1, 8, 0]`."""
    parts = [part.strip() for part in index.split(",")]
    assert len(parts) == axes and parts[-1].startswith(":"), index
    return [int(part) for part in parts[:-1]] + [0]


def residual_hooks(golden, long):
    """Values and norms of the residual stream of the long prompt; entry l stands before block l, the last behind the last block."""
    entries, n_layer = golden["top3_entries_by_magnitude"], len(golden["attn_out_norm_at_last"])
    name = lambda l: f"blocks.{l}.hook_resid_pre" if l < n_layer else f"blocks.{l - 1}.hook_resid_post"
    hooks = [
        {"hook": name(l), "at": [position, dimension], "values": [value]}
        for l, entry in enumerate(entries)
        for position, dimension, value in entry
    ]
    norms = []
    for position, values in ((-1, golden["norm_at_last"]), (0, golden["norm_at_0"])):
        assert len(values) == n_layer + 1
        norms.append({"hook": "blocks.0.hook_resid_pre", "position": position, "values": values[:-1]})
        norms.append({"hook": "blocks.0.hook_resid_post", "position": position, "values": values[1:]})
    for part in ("attn_out", "mlp_out"):
        norms.append({"hook": f"blocks.0.hook_{part}", "position": -1, "values": golden[f"{part}_norm_at_last"]})
    long["hooks"] += hooks
    long["norms"] = norms


def smollm2(golden):
    source = golden["source"]
    prompts = {
        name: {
            "text": prompt["text"],
            "ids": prompt["ids"],
            "top": [[token, logit] for token, logit, _ in prompt["top5_at_last"]],
            "logsumexp": prompt["logsumexp_at_last"],
            "mean_logit": prompt["mean_logit_at_last"],
            "loss": prompt["loss"],
            # The massive activation.
            "hooks": [{"hook": "blocks.12.hook_resid_pre", "at": [0, 507], "values": [prompt["resid_pre_12_at_0_dim_507"]]}],
        }
        for name, prompt in golden["prompts"].items()
    }
    hooks = dict(golden["hooks"])
    of_prompt = prompts[hooks.pop("prompt")]
    for block, values in hooks.items():
        for place, numbers in values.items():
            name, index = re.fullmatch(r"([^\[]*)\[(.*)\]", place).groups()
            axes = 2 if name.startswith("mlp.") else 3
            of_prompt["hooks"].append({"hook": f"{block}.{name}", "at": at_and_count(index, axes), "values": numbers})
    residual_hooks(golden["residual"], prompts[golden["residual"]["prompt"]])
    special = [token for _, token in golden["tokenizer"]["special"]]
    cases = golden["tokenizer"]["cases"] + [golden["tokenizer"]["chat"]]
    return {
        "source": f"{source['file']} (sha256 {source['sha256']}; {source['package']}), computed with {source['computed_with']}",
        "prompts": list(prompts.values()),
        "paragraphs": [
            {"text": p["text"], "tokens": p["n_tokens"], "loss": p["mean_loss"]} for p in golden["paragraphs"].values()
        ],
        "choices": [
            {"text": p["text"], "right": f" {p['io']}", "wrong": f" {p['s']}", "difference": p["difference"]}
            for p in golden["ioi"]["prompts"]
        ],
        "tokenizer": [
            {"text": case["text"], "ids": case["ids"]} | ({"control": True} if any(s in case["text"] for s in special) else {})
            for case in cases
        ],
    }


def gpt2(golden):
    return {
        "source": golden["source"],
        # The values are rounded to four digits behind the point, and lie about -135.
        "tolerances": {"logits": 0.02},
        "prompts": [
            {
                "text": prompt["prompt"],
                "ids": prompt["token_ids"],
                "top": prompt["top10"],
                "some": prompt["some"],
                "logsumexp": prompt["logsumexp"],
                "mean_logit": prompt["mean_logit"],
            }
            for prompt in golden["prompts"]
        ],
        # Published figures lie here, whatever the templates.
        "indirect_object": {"prompts": 200, "accuracy": [0.8, 1.0], "difference": [2.3, 4.3]},
    }


def dump(value):
    """JSON with every list or object of plain values on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    for opening, closing in (r"\[", r"\]"), (r"\{", r"\}"):
        quoted = r'"(?:[^"\\]|\\.)*"'
        plain = rf"(?:{quoted}|[^\[\]{{}}\"])*?"
        one_line = lambda m: m[0][0] + re.sub(rf"({quoted})|\n\s*", lambda n: n[1] or " ", m[1]).strip() + m[0][-1]
        text = re.sub(rf"{opening}\n\s+({plain})\n\s+{closing}", one_line, text)
    assert json.loads(text) == value
    return text + "\n"


def main(form, source, target):
    golden = json.loads(Path(source).read_text())
    Path(target).write_text(dump({"smollm2": smollm2, "gpt2": gpt2}[form](golden)))


main(*sys.argv[1:])
