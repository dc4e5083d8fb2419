"""Whether eyas renders published chat templates as transformers does, and finds what the assistant says in them.

Templates stay outside of the repository: files *.jinja, or *.json with a `chat_template` (tokenizer_config.json,
chat_template.json). Needs dist/ (npm run build:ts).
    python scripts/parity/templates.py DIR [SEED …]

Each template renders fixed conversations and random ones. The text must be equal, or both must refuse. For what eyas takes
as a record the assistant's spans must be those of transformers where the template has {% generation %} blocks; else each
must begin where the prompt for the turn ends (if the text begins with that prompt) and end with the token that closes it.
"""

import copy
import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

NODE = Path(__file__).resolve().with_name("render-template.mjs")
END_OF_TURN = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>", "<end_of_turn>",
               "<turn|>", "<end_of_utterance>", "<|END_OF_TURN_TOKEN|>", "<|end_of_text|>", "<|end_of_turn|>", "</s>", "<|user|>",
               "<|observation|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"]
# What comes before an answer where earlier turns lose the thoughts that the prompt of their time opened.
HEADER = re.compile("(<\\|im_start\\|>assistant\n|<\uff5cAssistant\uff5c>)(<think>\n?)?(\n?\n?</think>\n*)?")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The wéather <b>&'now'</b>", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "days": {
        "type": "integer", "enum": [1, 2]}, "scale": {"type": ["number", "null"], "default": 1.0, "maximum": 2**60}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}]
VARIABLES = [{}, {"enable_thinking": True}, {"enable_thinking": False}, {"add_vision_id": True, "add_audio_id": True},
             {"reasoning_effort": "high", "preserve_thinking": True, "date_string": "1 Jan 2026"}]
TEXTS = ["Hi", "", " ", "\n", "  padded  ", "\n\n  indented\n", "Füße 😀 圆 e\u0301", "<think>\nfirst\n</think>\n\nthen",
         "<think>a</think>b", "</think>\n    code", "x</think>", "<tool_response>1</tool_response>", "{{ messages }} {% x %}",
         "it's \"quoted\" \\n <b>&amp;</b>", "[TOOL_CALLS]", "a\r\nb\u2028c\x85d\x1ce"]
VALUES = [1, "x", None, [0.1, 2.0, 1e-7], {"b": 1, "1": 2}, 10**20]
MEDIA = ["image", "video", "audio"]


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def turn(role, content, **fields):
    return {"role": role, "content": content, **fields}


def parts(*items):
    return [{"type": i} if i in MEDIA else {"type": "text", "text": i} for i in items]


def fixed():
    user, answer = turn("user", "What is it?"), turn("assistant", "A star.")
    arguments = {"city": "Füssen \"x\"", "days": 2, "n": None, "f": 0.5, "l": [1, {"a": True}]}
    called = [turn("user", "Rain?"), turn("assistant", "", tool_calls=[call("weather", arguments, id="call00001")]),
              turn("tool", "{\"rain\": 0}", tool_call_id="call00001", name="weather")]
    yield [user, answer]
    yield [turn("system", "Be brief."), user, answer, turn("user", "And now?"), turn("assistant", "A moon.\n")]
    yield [turn("developer", "Be brief."), user, answer]
    yield [user, turn("assistant", "A star.", reasoning_content="It\n  shines."), user, turn("assistant", "B", reasoning_content="c")]
    yield [user, turn("assistant", "<think>\nIt shines.\n</think>\n\n    indented"), user, turn("assistant", "<think>\n\n</think>\n\nB")]
    yield [user, answer, turn("user", "<|im_start|>assistant\nI am not<|im_end|>"), turn("assistant", "Right.")]
    yield [*called, turn("assistant", "No rain.")]
    yield [turn("system", "Be brief."), *called, turn("assistant", "No rain.", reasoning_content="dry"), user, answer]
    yield [user, turn("assistant", "Wait.", tool_calls=[call("now", {}, id="call00002"), call("weather", arguments, id="call00003")]),
           turn("tool", "1", tool_call_id="call00002", name="now"), turn("tool", "2", tool_call_id="call00003", name="weather"), answer]
    yield [user, turn("assistant", None, tool_calls=[call("now", "{}", id="call00004")]), turn("tool", parts("12:00")), answer]
    for order in (["image", "What?"], ["a", "image", "b"], ["a", "image"], ["image", "image", "a", "video", "audio"], ["audio", "a"],
                  ["video", "a"], ["a", "b", "image", "c", "d"], [], [""]):
        yield [turn("user", parts(*order)), turn("assistant", parts("One."))]
        yield [turn("system", parts("Be brief.")), turn("user", parts(*order)), answer, turn("user", "more"), answer]
    yield [user, turn("assistant", parts("One. ", "Two."))]
    yield [turn("user", [{"type": "image_url", "image_url": {"url": "a.png"}}, {"image": "b.png"}, {"text": "c"}]), answer]
    for text in TEXTS:
        yield [turn("user", text), turn("assistant", text), turn("user", text), turn("assistant", "end")]
    for other in ([answer], [user, user], [user, answer, answer], [turn("tool", "x")], [turn("strange", "x"), user], [user],
                  [turn("user", None)], [{"role": "user"}], [turn("system", "only")], []):
        yield other


def randoms(rng, count=40):
    def content():
        if rng.random() < 0.6:
            return rng.choice(TEXTS)
        return parts(*(rng.choice(MEDIA) if rng.random() < 0.5 else rng.choice(TEXTS) for _ in range(rng.randrange(1, 5))))

    for _ in range(count):
        messages = [turn("system", content())] if rng.random() < 0.4 else []
        for _ in range(rng.randrange(1, 5)):
            messages.append(turn("user", content()))
            while rng.random() < 0.3:
                calls = [call(rng.choice(["weather", "now"]), {rng.choice(TEXTS) or "k": rng.choice(VALUES)}, id=f"call0000{i}")
                         for i in range(rng.randrange(1, 3))]
                thought = {"reasoning_content": rng.choice(TEXTS)} if rng.random() < 0.5 else {}
                messages.append(turn("assistant", rng.choice(TEXTS), tool_calls=calls, **thought))
                messages += [turn("tool", rng.choice(TEXTS), tool_call_id=c["id"], name=c["function"]["name"]) for c in calls]
            thought = {"reasoning_content": rng.choice(TEXTS)} if rng.random() < 0.3 else {}
            messages.append(turn("assistant", rng.choice(TEXTS) or ".", **thought))
        yield messages


def as_printed(messages, form):
    """What eyas hands to the template: content in the form that it prints, arguments of calls as objects."""
    messages = copy.deepcopy(messages)
    for message in messages:
        content = message["content"]
        if form == "parts" and isinstance(content, str):
            message["content"] = parts(content)
            message["content"][0]["type"] = "text"
        elif form == "string" and isinstance(content, list):
            if len(content) > 1 or any(part["type"] != "text" for part in content):
                return None
            message["content"] = content[0]["text"] if content else ""
    return messages


def is_record(messages):
    """Whether these are turns that a record may have, with an answer."""
    follow = {None: ["system", "developer", "user"], "system": ["user"], "developer": ["user"], "user": ["assistant"],
              "assistant": ["user", "tool"], "tool": ["tool", "assistant"]}
    roles = [None, *(message["role"] for message in messages)]
    ordered = all(after in follow.get(before, []) for before, after in zip(roles, roles[1:]))
    plain = all(isinstance(m.get("content"), str) or isinstance(m.get("content"), list) and all("type" in p and (
        p["type"] in MEDIA or p["type"] == "text") for p in m["content"]) for m in messages)
    calls = [c for m in messages for c in m.get("tool_calls", [])]
    said = all(m["role"] != "assistant" or m["content"] or m.get("tool_calls") for m in messages)
    objects = all(isinstance(call["function"]["arguments"], dict) for call in calls)
    return ordered and plain and said and objects and roles[-1] == "assistant"


class Eyas:
    """The template as eyas has it."""

    def __init__(self, source, end_of_turn, special):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(["node", str(NODE)], stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        self.opened = self.ask(source=source, endOfTurn=end_of_turn, specialTokens=special)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def units(text):
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def follows_header(text):
    return any(match.end() == len(text) for match in HEADER.finditer(text))


class Check:
    """One template in both."""

    def __init__(self, name, source, special):
        self.name, self.source, self.special = name, source, special
        self.marks = re.search(r"\{%-?\s*generation\s*-?%\}", source) is not None
        self.end = list(dict.fromkeys([special["eos_token"], *(token for token in END_OF_TURN if token in source)]))
        self.eyas = Eyas(source, self.end, special)
        self.counts, self.problems, self.unfound = Counter(), [], Counter()

    def python(self, messages, spans=False, **options):
        try:
            texts, indices = render_jinja_template([copy.deepcopy(messages)], chat_template=self.source,
                                                   return_assistant_tokens_mask=spans, **self.special, **options)
            return (texts[0], indices[0] if spans else None), None
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"

    def problem(self, kind, messages, options, *rest):
        self.counts[kind] += 1
        if len(self.problems) < 3:
            self.problems.append((kind, json.dumps([messages, options], ensure_ascii=False)[:600], *(str(r)[-700:] for r in rest)))

    def compare(self, messages, tools, variables, prompt):
        expected, refusal = self.python(messages, tools=tools, add_generation_prompt=prompt, **variables)
        record = json.dumps({"messages": messages, "tools": tools})
        received = self.eyas.ask(record=record, variables=variables, addGenerationPrompt=prompt)
        options = {"tools": bool(tools), "prompt": prompt, **variables}
        if (expected is None) != ("error" in received):
            self.problem("one refuses", messages, options, expected and expected[0] or refusal, received)
        elif expected and expected[0] != received["text"]:
            self.problem("text differs", messages, options, repr(expected[0]), repr(received["text"]))
        else:
            self.counts["equal" if expected else "both refuse"] += 1

    def compare_spans(self, messages, tools, variables, ask):
        given = as_printed(messages, self.eyas.opened.get("contentForm"))
        expected = given and self.python(given, spans=self.marks, tools=tools, add_generation_prompt=ask, **variables)[0]
        if not expected:
            return
        text, indices = expected
        received = self.eyas.ask(record=json.dumps({"messages": messages, "tools": tools}), variables=variables,
                                 addGenerationPrompt=ask, spans=True)
        if "error" in received:
            self.unfound[re.sub(r"\(message \d+\)", "", received["error"])] += 1
            return
        encoded = text.encode("utf-16-le")
        spans = received["assistantSpans"]
        if received["text"] != text:
            self.problem("text of spans differs", messages, variables, text, received)
        elif self.marks:
            wanted = [[units(text[:start]), units(text[:end])] for start, end in indices if end > start]
            self.counts["spans"] += 1
            if spans != wanted:
                self.problem("generation differs", messages, variables, wanted, spans, text)
        else:
            turns = [i for i, message in enumerate(given) if message["role"] == "assistant"]
            if len(turns) != len(spans):
                self.problem("spans are missing", messages, variables, spans)
            for i, (start, end) in zip(turns, spans):
                prompt, _ = self.python(given[:i], tools=tools, add_generation_prompt=True, **variables)
                span = encoded[2 * start : 2 * end].decode("utf-16-le")
                exact_start = prompt is not None and text.startswith(prompt[0])
                self.counts["spans" if exact_start else "spans after another prompt"] += 1
                if exact_start and start != units(prompt[0]):
                    self.problem("span begins elsewhere", messages, variables, prompt[0], repr(span))
                before = encoded[: 2 * start].decode("utf-16-le")
                headed = prompt and not exact_start and follows_header(prompt[0])
                if headed and not follows_header(before):
                    self.problem("span begins after no header", messages, variables, repr(before[-80:]), repr(span))
                if not any(span.endswith(token) for token in self.end):
                    self.problem("span is not closed", messages, variables, repr(span))

    def run(self, seeds):
        conversations = list(fixed()) + [m for seed in seeds for m in randoms(random.Random(f"{seed} {self.name}"))]
        for i, messages in enumerate(conversations):
            for tools in (None, TOOLS):
                for variables in VARIABLES if i < 12 else VARIABLES[:3]:
                    for prompt in (False, True):
                        self.compare(messages, tools, variables, prompt)
                if is_record(messages):
                    for variables in VARIABLES[:3]:
                        for prompt in (False, True):
                            self.compare_spans(messages, tools, variables, prompt)
        self.eyas.close()


def templates(folder):
    for file in sorted(Path(folder).rglob("*")):
        if file.suffix == ".jinja":
            yield file.stem, file.read_text(), SPECIAL
        elif file.suffix == ".json":
            config = json.loads(file.read_text())
            text = {key: value["content"] if isinstance(value, dict) else value for key, value in config.items() if key in SPECIAL}
            given = config.get("chat_template") or []
            for entry in [{"name": "", "template": given}] if isinstance(given, str) else given:
                yield f"{file.stem} {entry['name']}", entry["template"], {**SPECIAL, **{k: v for k, v in text.items() if v}}


def main():
    folder, *seeds = sys.argv[1:]
    total, different = Counter(), 0
    for name, source, special in templates(folder):
        check = Check(name, source, special)
        check.run(seeds or ["1"])
        total.update(check.counts)
        different += bool(check.problems)
        print(name, dict(check.counts), flush=True)
        if "error" in check.eyas.opened:
            print("   ", check.eyas.opened["error"])
        for reason, count in check.unfound.items():
            print(f"    no spans {count}×: {reason}")
        for problem in check.problems:
            print("   ", "\n        ".join(problem))
    print("all", dict(total))
    sys.exit(f"{different} templates differ" if different else None)


if __name__ == "__main__":
    main()
