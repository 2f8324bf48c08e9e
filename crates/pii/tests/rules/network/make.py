"""Makes what stands beside it: a classifier of tokens that fits into a test, and what others read in tricky texts.

    pip install tokenizers==0.22.1 onnx==1.23.2
    python make.py

`vocab.txt` has no capitals, `tokenizer.json` has; `wordpiece.json` is what Hugging Face's `tokenizers` makes of
`TEXTS` with either: for each piece its number and the character that its word begins at. `model.onnx` knows a few words
of `vocab.txt` by heart: a row of scores a piece, doubled where the mask is set.
"""

import json
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PEOPLE = ["ada", "love"]
INSIDE = ["##lace"]
ORGANISATIONS = ["acme"]
WORDS = PEOPLE + INSIDE + ORGANISATIONS + "lives in works for the naive cafe strasse un ##aff ##able run ##ning 2024".split()
LETTERS = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
OTHERS = list("éüñßøłđıæœςσφилйכםمعاकखाि่กด漢字仮名かナカ中文한국ᄒ€£°™…“”‘’—–·¿¡«»†‰′、。（）！？，😀👍🏽👩")
CAPITALS = [chr(c) for c in range(65, 91)] + list("ÉÜÑØŁĐİÆΣИЙ") + ["Ada", "Love", "The"]
TEXTS = [
    "", " ", "\t\r\n", "Ada Lovelace", "ADA LOVELACE lives in the café", "unaffable running", "naïve Naive NAÏVE", "Ünïcödé",
    "e\u0301te\u0301", "cafe\u0301s", "Å\u030a ø Ø ł Ł đ Đ", "Straße STRASSE ẞ", "İstanbul ıI", "Σίσυφος ΣΑΣ ς", "И\u0306 й Й",
    "漢字かなカナ", "中文abc中文", "ひらがな カタカナ", "が\u3099か\u3099", "ｶﾞ ﾊﾟ", "한국어", "\u1112\u1161\u11ab", "豈 \U00020000 \U0002a700 \U0002b920 \U0002f800",
    "हिन्दी का किताब", "ภาษาไทย ก่ด", "עברית שָׁלוֹם", "العَرَبِيَّة مع", "ﷺ ﬁ ﬀ ²½",
    "😀", "👍🏽 ok", "👩‍👩‍👧", "a😀b", "🇩🇪 flags", "❤️ heart",
    "a\u200bb", "a\u200db", "a\u00adb", "a\ufeffb", "a\u0000b", "a\u0007b", "a\u007fb", "a\u0085b", "a\u2028b", "a\u2029b", "a\u00a0b", "a\u3000b",
    "a\u2003b", "a\u1680b", "a\u180eb", "a\ufffdb", "a\ue000b", "a\U000e0041b", "a\u0600b", "a\u202eb", "a\u2066b", "\u0301a", "a\u20ddb",
    "it's O'Brien’s", "“quoted” ‘so’ «here»", "semi;colon:slash/back\\slash", "a_b-c–d—e…f", "$5 €6 £7 10° ™ ± × ÷", "¿qué? ¡sí!", "x·y•z", "†‡‰′″", "（全角）、。！？，",
    "a@b.com http://x.y/?z=1&w=%20#q", "[CLS] [SEP] [UNK] [MASK]", "##lace ##", "`^~|<>{}+=*", "⟦a⟧ ⸢b⸣ ⁅c⁆ ‿d ﹏e ＿f", "٪٫٬ ؟ ، ॥ ։ ׀ ፡ ᠀ ๏ ༄",
    "a" * 100, "a" * 101, "é" * 100, "é" * 101, "ab" * 50 + " b", "x" * 3000, "the" * 34, "1234567890", "٣٤٥ 二〇二四", "2024-01-02T03:04:05Z",
    "ǅ ǆ Ǆ", "ÀÈÌÒÙ àèìòù ÃÕ", "Việt Nam Nguyễn", "Ḁ ạ̈ ȫ", "Zoë Müller-Łukasz", "а\u0301 ѐ ё Ё", "ﬃ ẛ̣ Å K",
]


def tokenizer(vocabulary, lower):
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def pieces(made, text):
    encoding = made.encode(text, add_special_tokens=False)
    first = {}
    for word, (start, _) in zip(encoding.word_ids, encoding.offsets):
        first.setdefault(word, start)
    return [[number, first[word]] for number, word in zip(encoding.ids, encoding.word_ids)]


def vocabulary(others):
    whole = SPECIAL + WORDS + [c for c in LETTERS + others]
    # Continued by letters and figures; accents of the decomposed and of the composed kind.
    whole += ["##" + c for c in LETTERS + others if c.isalnum() or len(c.encode()) > 2] + ["\u3099", "##\u3099", "\u0e48", "##\u0e48"]
    return {piece: number for number, piece in enumerate(dict.fromkeys(whole))}


def network(words):
    labels = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]
    scores = numpy.zeros((len(words), len(labels)), dtype=numpy.float32)
    scores[:, 0] = 4
    for label, known in ((1, PEOPLE[:1]), (2, PEOPLE[1:] + INSIDE), (3, ORGANISATIONS)):
        for piece in known:
            scores[words[piece], label] = 8
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "n"]) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["scores", "input_ids"], ["rows"]), helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]), helper.make_node("Mul", ["rows", "column"], ["once"]), helper.make_node("Add", ["once", "once"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(scores, "scores"), numpy_helper.from_array(numpy.array([2], dtype=numpy.int64), "last")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", len(labels)])
    model = helper.make_model(helper.make_graph(nodes, "tiny", inputs, [output], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString(), {"id2label": {str(number): label for number, label in enumerate(labels)}, "max_position_embeddings": 64}


def main():
    small, cased = vocabulary(OTHERS), vocabulary(OTHERS + CAPITALS)
    (HERE / "vocab.txt").write_text("".join(piece + "\n" for piece in small), encoding="utf-8")
    tokenizer(cased, False).save(str(HERE / "tokenizer.json"), pretty=False)
    golden = [{"text": text, "uncased": pieces(tokenizer(small, True), text), "cased": pieces(tokenizer(cased, False), text)} for text in TEXTS]
    (HERE / "wordpiece.json").write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in golden) + "\n]\n")
    model, config = network(small)
    (HERE / "model.onnx").write_bytes(model)
    (HERE / "config.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
