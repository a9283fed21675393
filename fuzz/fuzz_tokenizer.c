/* fuzz_tokenizer.c - a text and a tokenizer's files, separated by zero bytes: text, vocab.json, merges.txt,
 * tokenizer_config.json, special_tokens_map.json. Without the second part a small vocabulary stands in. */
#include "fuzz.h"
#include "model/model.h"

static const char vocab[] =
    "{\"a\": 0, \"b\": 1, \"a</w>\": 2, \"b</w>\": 3, \"ab\": 4, \"ab</w>\": 5, \"aba\": 6, "
    "\"\xC3\x83\": 7, \"\xC2\xA9</w>\": 8, \"!\": 9, \"<|startoftext|>\": 10, \"<|endoftext|>\": 11}";
static const char merges[] = "#version: 0.2\na b\na b</w>\nab a\n";
static const char config[] =
    "{\"pad_token\": \"!\", \"eos_token\": {\"content\": \"<|endoftext|>\", \"normalized\": true}}";

/* The bytes up to the next zero, and over it. */
static ltn_bytes next(const uint8_t **p, size_t *n)
{
    const uint8_t *end = memchr(*p, 0, *n);
    const ltn_bytes b = {(uint8_t *)*p, end ? (size_t)(end - *p) : *n};
    *p += end ? b.size + 1 : b.size;
    *n -= end ? b.size + 1 : b.size;
    return b;
}

static void tokenize(ltn_tokenizer *t, const char *text)
{
    int ids[77];
    const int size = ltn__tokenizer_size(t);
    if (ltn__tokenize(t, text, ids, LTN_COUNT(ids))) return;
    for (int i = 0; i < LTN_COUNT(ids); i++)
        fuzz_claim(ids[i] >= 0 && ids[i] < size, "ids lie in the vocabulary");
    int few[3];
    fuzz_claim(!ltn__tokenize(t, text, few, 3) && few[0] == ids[0], "a shorter one starts the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_tokenizer *t;
    const ltn_bytes text = next(&p, &n);
    ltn_bytes part[4] = {0};
    for (int k = 0; k < 4 && n; k++) part[k] = next(&p, &n);
    if (!part[0].size) {
        part[0] = (ltn_bytes){(uint8_t *)vocab, sizeof vocab - 1};
        part[1] = (ltn_bytes){(uint8_t *)merges, sizeof merges - 1};
        part[2] = (ltn_bytes){(uint8_t *)config, sizeof config - 1};
    }
    char *s = ltn__alloc(ctx, text.size + 1, 1);
    const ltn_tokenizer_files files = {.vocab = part[0], .merges = part[1], .config = part[2],
                                       .map = part[3]};
    if (s) memcpy(s, text.data, text.size);
    if (!ltn__tokenizer_parse(ctx, "input", &files, &t) && s) tokenize(t, s);
    else fuzz_claim(ltn_error(ctx)[0], "a failure has a message");
    ltn__tokenizer_close(&t);
    ltn__free(ctx, s);
    ltn_close(&ctx);
    return 0;
}
