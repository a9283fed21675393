"""Ids of 1,000 varied strings by transformers' CLIPTokenizer, with CLIP's whole vocabulary and with the bundled
prior's, and of strings with special tokens under the settings that published folders have.

Writes tokenizer.json and models/clip/merges.txt. Needs bpe_simple_vocab_16e6.txt.gz of CLIP (MIT licence) in
../shared/data/clip, or its path in the environment variable CLIP_BPE."""
import gzip
import json
import os
import random
import shutil
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRIOR = os.path.join(ROOT, "models", "prior", "tokenizer")
BPE = os.environ.get("CLIP_BPE", os.path.join(ROOT, "../shared/data/clip/bpe_simple_vocab_16e6.txt.gz"))

HAND = """
a photo of a cat
A Photo Of A CAT
  a   photo\tof\n a\r\ncat \v \f
a photo of a face, high quality, sharp, 4k, 85mm f/1.4
it's isn't they're we've I'm she'll he'd 'S 'T 'RE IT'S DON'T
it’s isn’t they’re
'sadness 'td 'red 've 'mad 'llama 'dd '' ''s '''s ' s
rock'n'roll o'clock 'tis d'accord l'été
1234567890 3.14159 1,000,000 1e-5 0x1F 2023-01-02 12:34:56
½ ¼ ² ³ ¹ ⅷ Ⅷ ① ⑳ ፩ ٣ ३ 五 〇 ௧ 𝟘𝟙
hello!!!??? ... --- ___ *** ### $$$ %%% &&& @@@ ~~~ ^^^ ``` ||| \\\\ // <> {} [] ()
!a!b!c! a.b.c. a-b_c+d=e
https://example.org/path?query=1&x=y#frag mail@example.com
<|endoftext|>
<|startoftext|> a <|endoftext|> b
a<|endoftext|>b<|startoftext|>c
<|ENDOFTEXT|> <|StartOfText|>!
<<|endoftext|>> <|endoftext| |endoftext|> <|endof text|>
<<|ENDOFTEXT|>> x<|ENDOFTEXT|>y
Straße STRASSE ẞ ß ſ ŉ ǰ ΐ ﬁ ﬂ ﬃ
İstanbul ISTANBUL ıspanak Iğdır İİ I
ΣΊΣΥΦΟΣ Σίσυφος ΟΔΟΣ ὈΔΥΣΣΕΎΣ ᾼ ᾈ ῼ
Ελλάδα, η χώρα των θεών
Привет, мир! СЪЕШЬ ЖЕ ЕЩЁ ЭТИХ МЯГКИХ ФРАНЦУЗСКИХ БУЛОК
Їжак і ґава; ћирилица; Њ Љ Џ
שלום עולם עִבְרִית
مرحبا بالعالم العَرَبِيَّة ﷽ ـــ
नमस्ते दुनिया हिन्दी क्षत्रिय
வணக்கம் உலகம் தமிழ்
สวัสดีชาวโลก ภาษาไทย
你好,世界。这是一个测试!
こんにちは世界 カタカナ ｶﾀｶﾅ ﾊﾟ がぎぐ
안녕하세요 세계 한국어
გამარჯობა ᲒᲐᲛᲐᲠᲯᲝᲑᲐ Ⴀ
Բարեւ աշխարհ ԱԲԳ և
ᏣᎳᎩ ꭰꭱ Ꭰ
𐐀𐐁𐐨 𞤀𞤢 𝐀𝐁𝒞 Ａｂｃ１２３
é é ñ ñ ü ü Å Å Å ǭ ợ ợ
a̴̢b̷̨c̵ z̶͓̈́a̷l̴g̸o̶
q̣̇ q̣̇ ằ ẳ
≠ ≠ ≯ > ̸ <|endoftext|≯
😀 😃😄 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ❤️ ☺ ☺️ ✈️ 1️⃣ #️⃣
👨🏿‍🚀 🧑‍🤝‍🧑 🤷🏻‍♀️ 👁️‍🗨️
™ © ® € £ ¥ ¢ § ¶ † ‡ • … – — ‘ ’ “ ” « » ¿ ¡
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β ∑∏∫√∞ ≈ ≤ ≥ ⊂ ∅
→ ← ↑ ↓ ⇒ ⇔ █ ▓ ░ ■ □ ▲ ♠ ♥ ♦ ♣ ♪ ☃ ☂
zero​width joiner‌non‍joiner⁠word﻿bom ­soft
nbsp\u00a0narrow\u202fem\u2003thin\u2009ideographic\u3000line\u2028para\u2029ogham\u1680next\u0085x
control\u0001\u0002\u0008\u001b[31m\u007f\u0080\u009f end
left\u200eright\u200fmarks \u202aembedding\u202c \u2066iso\u2069
\ufffd \ufffe \uffff private \ue000 \U000f0000 \U0010ffff
unassigned \u0378 \u05ff \U0001f8ff \U000e0041\U000e007f
Ω K Å ℵ ℓ № ℃ ㎏ ㍿ ﷺ
Nguyễn Văn Ánh; Łódź; Kraków; Göteborg; Ærøskøbing; Þórr; Đorđe; Çağlar; Ñandú; Œuvre
pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtsgesellschaft
supercalifragilisticexpialidocious antidisestablishmentarianism floccinaucinihilipilification
CamelCaseWords snake_case_words kebab-case-words SCREAMING_SNAKE
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
x
i
</w> a</w> <w> &amp; &lt; &quot; &#39;
(masterpiece:1.2), ((best quality)), [lowres], {detail|sharp}, <lora:style:0.8>
portrait of a woman, oil on canvas, by Rembrandt van Rijn, chiaroscuro, 1642 --ar 3:2 --v 5
""".strip("\n").split("\n")

ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "latin1": "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßªº",
    "extended": "ĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĚěĜĝĞğĠġĦħİıĲĳŁłŃńŇňŐőŒœŘřŚśŞşŠšŢţŤťŪūŮůŰűŹźŻżŽžſǄǅǆǇǈǉ",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩάέήίόύώϊϋΐΰἀἁἂᾳᾼ",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯёЁіїєґ",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשתםןץףך",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةى٠١٢٣٤٥",
    "devanagari": "अआइईउऊकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसहािीुूेैोौ्ंः०१२३",
    "thai": "กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวศสหอฮะาิีึืุูเแโใไ่้๊๋",
    "hangul": "가나다라마바사아자차카타파하각난닫랄맘밥삿앙잦찿",
    "jamo": "".join(map(chr, [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)])),
    "han": "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
    "kana": "あいうえおかきくけこさしすせそたちつてとアイウエオカキクケコサシスセソー゛゜がぱ",
    "digits": "0123456789",
    "numbers": "½¼¾²³¹⅓⅛ⅠⅡⅳ①②٠١२३",
    "marks": "\u0300\u0301\u0302\u0303\u0308\u030a\u0323\u0327\u0328\u0338\u0345\u20e3",
    "punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "symbols": "§©®°±¶·×÷‐–—‘’“”„…‰€™←→∀∂∑√∞≈≠≤≥■●★☆♠♥♪",
    "emoji": "😀😂😍🤔🙏👍👎🔥💯🎉🌈🐱🐶🍕🚀❤✨⭐🏳🇦🇧🇨\ufe0f\u200d🏻🏽🏿",
    "space": " \t\n\r\v\f\u00a0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u0085",
    "control": "\x01\x02\x07\x08\x0e\x1b\x1f\x7f\u0080\u009f\u200b\u200c\u200d\u200e\u202e\ufeff\u00ad",
}
WORDS = """a an the of in on with and photo photograph painting portrait face woman man child cat dog bird house street
city night day forest mountain river sea beach sky snow sunset golden hour close-up macro studio lighting soft sharp
blurry noisy restored high quality detailed 4k 8k hdr bokeh vintage film grain black white colorful red green blue
can't won't it's they're I've we'll he'd couldn't y'all Van Gogh Monet Photoshop iPhone NASA USA U.S. 3D 35mm f/2.8""".split()


def strings(count=1000):
    """The hand-made ones, then mixtures from a seed."""
    rng = random.Random(20240101)
    out = list(HAND)
    out += ["", " ", "\n\t ", "word " * 120, "Über-lange Wörter! " * 20, "1" * 90, "é" * 200, "?! " * 60,
            "日本" * 60]
    names = list(ALPHABETS)
    while len(out) < count:
        kind = rng.randrange(4)
        if kind == 0:
            s = " ".join(vary(rng, rng.choice(WORDS)) for _ in range(rng.randint(2, 11)))
            s += rng.choice(["", ".", "!", " !!", "...", ", "])
        elif kind == 1:
            letters = ALPHABETS[rng.choice(names)]
            s = "".join(rng.choice(letters) for _ in range(rng.randint(1, 10)))
            s += " " + "".join(rng.choice(letters) for _ in range(rng.randint(1, 10)))
        elif kind == 2:
            s = "".join(rng.choice(ALPHABETS[rng.choice(names)]) for _ in range(rng.randint(2, 20)))
        else:
            s = ""
            for _ in range(rng.randint(1, 6)):
                letters = ALPHABETS[rng.choice(names)]
                s += "".join(rng.choice(letters) for _ in range(rng.randint(1, 5)))
                s += rng.choice(["", "", " ", rng.choice(ALPHABETS["space"]), "'s", "'LL "])
        out.append(s)
    assert len(out) == count and not any("\0" in s for s in out)
    return out


def vary(rng, word):
    return rng.choice([word, word, word.lower(), word.upper(), word.capitalize(), word.swapcase()])


def byte_letters():
    """OpenAI's printable stand-ins of the 256 bytes, in the order of the vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(256 - len(plain))]


def full_folder(folder, merges):
    words = byte_letters()
    words += [w + "</w>" for w in words] + [m.replace(" ", "") for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({w: i for i, w in enumerate(words)}, f, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(os.path.join(PRIOR, name), folder)


def token(content, normalized):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": normalized,
            "rstrip": False, "single_word": False}


def settings():
    """(name, tokenizer_config, special_tokens_map) as published folders have them; ids of the small vocabulary."""
    bos, eos = "<|startoftext|>", "<|endoftext|>"
    plain = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": bos, "eos_token": eos,
             "unk_token": eos, "pad_token": eos}
    objects = {**plain, "bos_token": token(bos, True), "eos_token": token(eos, True),
               "unk_token": token(eos, True)}
    mapped = {k: {x: y for x, y in v.items() if x != "__type"} if isinstance(v, dict) else v
              for k, v in objects.items() if k.endswith("_token")}
    decoder = {str(i): {"content": c, "lstrip": False, "normalized": n, "rstrip": False, "single_word": False,
                        "special": True}
               for i, c, n in ((0, "!", False), (1112, bos, True), (1113, eos, True))}
    return [("plain", plain, None), ("objects", objects, mapped), ("objects without map", objects, None),
            ("pad !", {**objects, "pad_token": "!"}, {**mapped, "pad_token": "!"}),
            ("map wins", objects, {**mapped, "pad_token": "!"}),
            ("decoder", {**plain, "pad_token": "!", "added_tokens_decoder": decoder},
             {**mapped, "pad_token": eos}),
            ("map alone", {"model_max_length": 77}, {**mapped, "pad_token": "!"}), ("nothing", None, None)]


SPECIAL_TEXTS = ["a cat", "hi!! there!", "a <|ENDOFTEXT|> b <|endoftext|>!!c! <|startoftext|>x", 
                 "<<|endoftext|>>", "<|ENDOFTEXT|>!", "<|endoftext|>\u0338 >\u0338",
                 "<|EndOfText|><|startoftext|><|STARTOFTEXT|>'s", "!" * 100]


def ids_of(tokenizer, text):
    return tokenizer(text, padding="max_length", max_length=77, truncation=True)["input_ids"]


def upto_end(ids, eos):
    """Without the padding, which the last id repeats."""
    n = len(ids)
    while n > 2 and ids[n - 1] == eos and ids[n - 2] == eos:
        n -= 1
    return ids[:n]


def make(out):
    import tokenizers
    import transformers
    with gzip.open(BPE, "rt", encoding="utf-8") as f:
        merges = f.read().split("\n")[1:49152 - 256 - 2 + 1]
    with open(os.path.join(out, "..", "..", "models", "clip", "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    result = {"made_with": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}}
    with tempfile.TemporaryDirectory() as folder:
        full_folder(folder, merges)
        full = transformers.CLIPTokenizer.from_pretrained(folder)
        small = transformers.CLIPTokenizer.from_pretrained(PRIOR)
        result["strings"] = [[s, upto_end(ids_of(full, s), 49407), upto_end(ids_of(small, s), 1113)]
                             for s in strings()]
    result["settings"] = []
    for name, config, mapped in settings():
        with tempfile.TemporaryDirectory() as folder:
            for file in ("vocab.json", "merges.txt"):
                shutil.copy(os.path.join(PRIOR, file), folder)
            for file, value in (("tokenizer_config.json", config), ("special_tokens_map.json", mapped)):
                if value is not None:
                    with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
                        json.dump(value, f)
            t = transformers.CLIPTokenizer.from_pretrained(folder)
            result["settings"].append({"name": name, "config": json.dumps(config) if config else None,
                                       "map": json.dumps(mapped) if mapped else None,
                                       "strings": [[s, ids_of(t, s)] for s in SPECIAL_TEXTS]})
    lines = ",\n".join(json.dumps(x, separators=(",", ":")) for x in result["strings"])
    rest = {k: v for k, v in result.items() if k != "strings"}
    with open(os.path.join(out, "tokenizer.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(rest, separators=(",", ":"))[:-1] + ',"strings":[\n' + lines + "\n]}\n")
