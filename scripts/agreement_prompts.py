"""Writes configs/agreement/prompts.jsonl: subject-verb agreement across a noun that stands between, for `task = "...toml"`.

    python3 scripts/agreement_prompts.py models/small-world/tokenizer.json > configs/agreement/prompts.jsonl

The words are those of the shipped model's world that common tokenizers keep whole; each is looked up in the vocabulary of the
tokenizer that is given. The same call gives the same bytes.
"""

import json
import random
import sys

NOUNS = """key door window table tower bridge house wall boat machine picture stone river mountain cat horse boy girl king
queen guest visitor friend student player robot engine lion""".split()
VERBS = [("works", "work"), ("stands", "stand"), ("runs", "run"), ("turns", "turn"), ("moves", "move")]
FRAMES = ["Then, the {} near the {}", "Then, the {} behind the {}", "Then, the {} beside the {}"]
NUMBERS = ["singular", "plural"]
SPLITS = {"train": 600, "evaluation": 200, "interpretability": 400, "locate": 200}


def main(tokenizer):
    with open(tokenizer, encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    words = [word + end for word in NOUNS for end in ("", "s")] + [verb for pair in VERBS for verb in pair]
    missing = [word for word in words if "Ġ" + word not in vocabulary]
    if missing:
        sys.exit(f"{tokenizer}: not in its vocabulary: {', '.join(missing)}")

    rng = random.Random(0)
    every = [(frame, noun, other, number, other_number) for frame in FRAMES for noun in NOUNS for other in NOUNS
             for number in (0, 1) for other_number in (0, 1) if noun != other]
    drawn = iter(rng.sample(every, sum(SPLITS.values())))
    for split, n in SPLITS.items():
        for _ in range(n):
            frame, noun, other, number, other_number = next(drawn)
            verb = rng.choice(VERBS)

            def text(number, other_number):
                return frame.format(noun + "s" * number, other + "s" * other_number)

            def answers(number):
                return {"right": " " + verb[number], "wrong": " " + verb[1 - number]}

            line = {
                "prompt": text(number, other_number),
                "labels": {"Number": NUMBERS[number], "OtherNumber": NUMBERS[other_number], "Noun": noun},
                "positions": {"Noun": 3, "Noun+1": 4},
                **answers(number),
                "counterfactuals": {
                    "Number": {
                        "prompt": text(1 - number, other_number),
                        "labels": {"Number": NUMBERS[1 - number]},
                        **answers(1 - number),
                    },
                    "OtherNumber": {
                        "prompt": text(number, 1 - other_number),
                        "labels": {"OtherNumber": NUMBERS[1 - other_number]},
                        **answers(number),
                    },
                },
                "split": split,
            }
            print(json.dumps(line, separators=(",", ":")))


if __name__ == "__main__":
    main(*sys.argv[1:])
