/* tokenizer.c - CLIP's tokens: text is brought to NFC and lower case, cut into words, and the bytes of each
 * word are joined pair by pair in the order of merges.txt (byte-pair encoding: Sennrich, Haddow, Birch, ACL
 * 2016; on bytes as Radford et al. 2019; the last byte of a word carries "</w>").
 *
 * A word is a contraction 's 't 're 've 'm 'll 'd, a run of letters, one digit, or a run of anything else but
 * space. Special tokens written out in the text are found first: those the folder calls `normalized` in the
 * lower-cased text, the others in the text as typed. Bytes that are no UTF-8 read as U+FFFD, one for each
 * longest broken sequence. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "model.h"

enum { DEFAULT_LENGTH = 77, MAX_LENGTH = 1 << 16, MAX_ID = 1 << 24, MAX_TEXT = 1 << 24 };

/* A piece of text, not zero-terminated. */
typedef struct piece {
    const uint8_t *p;
    size_t n;
} piece;

typedef struct special {
    const char *content; /* as the folder writes it */
    piece text;          /* what is looked for: the same, or normalised */
    int id;
    bool normalized;
} special;

typedef struct merge {
    int left, right; /* ids; left < 0: an empty place of the hash table */
    int rank, id;    /* line in merges.txt, and what the pair becomes */
} merge;

struct ltn_tokenizer {
    ltn_ctx *ctx;
    ltn_arena arena;       /* texts of special tokens */
    int length, size;      /* model_max_length; highest id + 1 */
    int bos, eos, pad, unk;
    int byte[2][256];      /* id of a byte inside a word, and at its end */
    merge *merges;         /* open addressing, mask + 1 places */
    uint32_t mask;
    special *specials;
    int nspecial;
};

static piece text(const char *s)
{
    return (piece){(const uint8_t *)s, strlen(s)};
}

/* ---- Vocabulary: word -> id, while the tokenizer is opened ---- */
typedef struct vocabulary {
    struct { piece word; int id; } *at; /* word.p is NULL at an empty place */
    uint32_t mask;
} vocabulary;

/* FNV-1a, continued from h. */
static uint32_t hash(uint32_t h, piece s)
{
    for (size_t i = 0; i < s.n; i++) h = (h ^ s.p[i]) * 16777619u;
    return h;
}

static const uint32_t hash_start = 0x811c9dc5u;

static uint32_t table_mask(int count)
{
    uint32_t n = 16;
    while (n < 2 * (uint32_t)count) n *= 2;
    return n - 1;
}

/* The place of the word a b, or where it would stand. */
static uint32_t place(const vocabulary *v, piece a, piece b)
{
    uint32_t i = hash(hash(hash_start, a), b) & v->mask;
    for (; v->at[i].word.p; i = (i + 1) & v->mask) {
        const piece w = v->at[i].word;
        if (w.n == a.n + b.n && !memcmp(w.p, a.p, a.n) && !memcmp(w.p + a.n, b.p, b.n)) break;
    }
    return i;
}

/* The id of the word a b; -1: it is not in the vocabulary. */
static int id_of(const vocabulary *v, piece a, piece b)
{
    const uint32_t i = place(v, a, b);
    return v->at[i].word.p ? v->at[i].id : -1;
}

static int id_of_text(const vocabulary *v, const char *s)
{
    return id_of(v, text(s), text(""));
}

/* One of the folder's files as a tree; NULL if it is missing. */
static ltn_status tree(ltn_arena *arena, const char *dir, const char *name, ltn_bytes file, ltn_json **out)
{
    *out = NULL;
    if (!file.data) return LTN_OK;
    const char *path = ltn__arena_format(arena, "%s/%s", dir, name);
    if (!path) return LTN_ENOMEM;
    return ltn__json_parse(arena->ctx, path, (const char *)file.data, file.size, arena, out);
}

static ltn_status vocabulary_read(ltn_tokenizer *t, const char *dir, ltn_bytes file, ltn_arena *arena,
                                  vocabulary *v)
{
    ltn_json *json;
    const ltn_status s = tree(arena, dir, "vocab.json", file, &json);
    if (s) return s;
    if (!json || json->type != LTN_JSON_OBJECT || !json->count)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s/vocab.json: not an object of words and ids", dir);
    v->mask = table_mask(json->count);
    v->at = ltn__arena_alloc(arena, (size_t)v->mask + 1, sizeof *v->at);
    if (!v->at) return LTN_ENOMEM;
    for (const ltn_json *e = json->child; e; e = e->next) {
        if (e->type != LTN_JSON_NUMBER || !(e->number >= 0 && e->number < MAX_ID) ||
            e->number != (int)e->number)
            return ltn__fail(t->ctx, LTN_EFORMAT, "%s/vocab.json: \"%s\": not an id", dir, e->key);
        const uint32_t i = place(v, text(e->key), text(""));
        v->at[i].word = text(e->key);
        v->at[i].id = (int)e->number;
        t->size = LTN_MAX(t->size, (int)e->number + 1);
    }
    return LTN_OK;
}

/* How vocab.json writes bytes: printable Latin-1 as itself, the other 68 as U+0100, U+0101, ... */
static void bytes_read(ltn_tokenizer *t, const vocabulary *v)
{
    int other = 256;
    for (int b = 0; b < 256; b++) {
        const bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);
        uint8_t utf8[4];
        const piece letter = {utf8, (size_t)utf8proc_encode_char(printable ? b : other++, utf8)};
        for (int last = 0; last < 2; last++) {
            const int id = id_of(v, letter, text(last ? "</w>" : ""));
            t->byte[last][b] = id < 0 ? t->unk : id;
        }
    }
}

/* ---- Merges ---- */
static merge *merge_at(const ltn_tokenizer *t, int left, int right)
{
    uint32_t i = ((uint32_t)left * 2654435761u ^ (uint32_t)right * 2246822519u);
    for (i = (i ^ i >> 15) & t->mask; t->merges[i].left >= 0; i = (i + 1) & t->mask)
        if (t->merges[i].left == left && t->merges[i].right == right) break;
    return &t->merges[i];
}

static const merge *merge_of(const ltn_tokenizer *t, int left, int right)
{
    const merge *m = merge_at(t, left, right);
    return m->left < 0 ? NULL : m;
}

/* One line "left right"; the pair and what it makes must be words. */
static ltn_status merge_line(ltn_tokenizer *t, const vocabulary *v, const char *dir, int number, piece line,
                             int rank)
{
    const uint8_t *gap = memchr(line.p, ' ', line.n);
    if (!gap || memchr(gap + 1, ' ', line.n - (size_t)(gap + 1 - line.p)))
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s/merges.txt: line %d is not a pair of words", dir, number);
    const piece a = {line.p, (size_t)(gap - line.p)}, b = {gap + 1, line.n - a.n - 1}, none = {gap, 0};
    const merge m = {id_of(v, a, none), id_of(v, b, none), rank, id_of(v, a, b)};
    if (m.left < 0 || m.right < 0 || m.id < 0)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s/merges.txt: line %d: a word that vocab.json does not have",
                         dir, number);
    *merge_at(t, m.left, m.right) = m;
    return LTN_OK;
}

static ltn_status merges_read(ltn_tokenizer *t, const vocabulary *v, const char *dir, ltn_bytes file)
{
    int lines = 1, rank = 0;
    for (size_t i = 0; i < file.size; i++) lines += file.data[i] == '\n';
    if (file.size > INT_MAX / 2) return ltn__fail(t->ctx, LTN_EFORMAT, "%s/merges.txt: too large", dir);
    t->mask = table_mask(lines);
    t->merges = ltn__alloc(t->ctx, (size_t)t->mask + 1, sizeof *t->merges);
    if (!t->merges) return LTN_ENOMEM;
    for (uint32_t i = 0; i <= t->mask; i++) t->merges[i].left = -1;
    const uint8_t *p = file.data, *end = p + file.size;
    for (int number = 1; p < end; number++) {
        const uint8_t *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        piece line = {p, (size_t)(stop - p)};
        if (line.n && line.p[line.n - 1] == '\r') line.n--;
        p = stop < end ? stop + 1 : end;
        if (line.n >= 8 && !memcmp(line.p, "#version", 8)) continue;
        const ltn_status s = merge_line(t, v, dir, number, line, rank++);
        if (s) return s;
    }
    return LTN_OK;
}

/* ---- Text ---- */
/* Length of the UTF-8 sequence at p, or of its longest broken start. */
static size_t sequence(const uint8_t *p, const uint8_t *end, bool *valid)
{
    const uint8_t c = *p;
    const size_t more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    uint8_t low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80; /* of the second byte */
    uint8_t high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    *valid = false;
    if ((c >= 0x80 && c < 0xC2) || c > 0xF4) return 1;
    for (size_t k = 1; k <= more; k++) {
        if (p + k == end || p[k] < low || p[k] > high) return k;
        low = 0x80;
        high = 0xBF;
    }
    *valid = true;
    return more + 1;
}

/* The text as valid UTF-8, in a block of its own; p is NULL without memory. */
static piece clean(ltn_ctx *ctx, piece s)
{
    uint8_t *out = ltn__alloc(ctx, s.n + 1, 3);
    size_t n = 0;
    for (const uint8_t *p = s.p, *end = p + s.n; out && p < end;) {
        bool valid;
        const size_t k = sequence(p, end, &valid);
        memcpy(out + n, valid ? p : (const uint8_t *)"\xEF\xBF\xBD", valid ? k : 3);
        n += valid ? k : 3;
        p += k;
    }
    return (piece){out, n};
}

/* The one letter whose lower case is two: I with dot above. */
enum { CAPITAL_I_DOT = 0x130, DOT_ABOVE = 0x307 };

/* NFC, then lower case letter by letter; a block of its own; p is NULL without memory. */
static piece normalize(ltn_ctx *ctx, piece s)
{
    const utf8proc_option_t how = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    const utf8proc_ssize_t room = utf8proc_decompose(s.p, (utf8proc_ssize_t)s.n, NULL, 0, how);
    utf8proc_int32_t *code = room < 0 ? NULL : ltn__alloc(ctx, (size_t)room + 1, sizeof *code);
    uint8_t *out = code ? ltn__alloc(ctx, (size_t)room + 1, 4) : NULL;
    size_t n = 0;
    if (out) {
        utf8proc_decompose(s.p, (utf8proc_ssize_t)s.n, code, room, how);
        const utf8proc_ssize_t count = utf8proc_normalize_utf32(code, room, how);
        for (utf8proc_ssize_t i = 0; i < count; i++) {
            const bool dotted = code[i] == CAPITAL_I_DOT;
            n += (size_t)utf8proc_encode_char(dotted ? 'i' : utf8proc_tolower(code[i]), out + n);
            if (dotted) n += (size_t)utf8proc_encode_char(DOT_ABOVE, out + n);
        }
    }
    ltn__free(ctx, code);
    return (piece){out, n};
}

typedef enum class { SPACE, LETTER, DIGIT, OTHER } class;

/* The class of the character at s, and its bytes. */
static class classify(piece s, size_t *bytes)
{
    utf8proc_int32_t c;
    const utf8proc_ssize_t n = utf8proc_iterate(s.p, (utf8proc_ssize_t)s.n, &c);
    *bytes = n > 0 ? (size_t)n : 1;
    if (n <= 0) return OTHER;
    const utf8proc_category_t k = utf8proc_category(c);
    if ((c >= '\t' && c <= '\r') || c == 0x85) return SPACE; /* controls by category */
    if (k >= UTF8PROC_CATEGORY_ZS && k <= UTF8PROC_CATEGORY_ZP) return SPACE;
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) return LETTER;
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO ? DIGIT : OTHER;
}

static bool starts(piece s, piece with)
{
    return s.n >= with.n && !memcmp(s.p, with.p, with.n);
}

/* Bytes of the word at s, which does not start with a space. */
static size_t word_length(piece s)
{
    static const char *contraction[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (int k = 0; k < LTN_COUNT(contraction); k++)
        if (starts(s, text(contraction[k]))) return strlen(contraction[k]);
    size_t n, step;
    const class first = classify(s, &n);
    while (first != DIGIT && n < s.n && classify((piece){s.p + n, s.n - n}, &step) == first) n += step;
    return n;
}

/* ---- Joining the bytes of a word ---- */
typedef struct symbol {
    int id, before, after; /* neighbours' indices, -1: none; id < 0: joined to its left neighbour */
} symbol;

typedef struct candidate {
    int rank, at, id; /* of the merge; index of the left symbol */
} candidate;

/* A heap of candidates: least rank first, then the leftmost. */
typedef struct heap {
    candidate *c;
    int n;
} heap;

static bool sooner(candidate a, candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(heap *h, candidate c)
{
    int i = h->n++;
    for (; i && sooner(c, h->c[(i - 1) / 2]); i = (i - 1) / 2) h->c[i] = h->c[(i - 1) / 2];
    h->c[i] = c;
}

static candidate pop(heap *h)
{
    const candidate top = h->c[0], last = h->c[--h->n];
    int i = 0;
    for (int k = 1; k < h->n; k = 2 * i + 1) {
        if (k + 1 < h->n && sooner(h->c[k + 1], h->c[k])) k++;
        if (!sooner(h->c[k], last)) break;
        h->c[i] = h->c[k];
        i = k;
    }
    h->c[i] = last;
    return top;
}

/* One call of ltn__tokenize. */
typedef struct job {
    const ltn_tokenizer *t;
    int *ids, n, room; /* taken so far, of room */
    symbol *s;         /* as many as bytes of the text */
    heap h;            /* three times as many: each joining makes two new candidates */
} job;

static void emit(job *j, int id)
{
    if (j->n < j->room) j->ids[j->n++] = id;
}

static void consider(job *j, int at)
{
    if (at < 0 || j->s[at].after < 0) return;
    const merge *m = merge_of(j->t, j->s[at].id, j->s[j->s[at].after].id);
    if (m) push(&j->h, (candidate){m->rank, at, m->id});
}

static void join(job *j, candidate c)
{
    symbol *left = &j->s[c.at];
    if (left->id < 0 || left->after < 0) return;
    symbol *right = &j->s[left->after];
    const merge *m = merge_of(j->t, left->id, right->id);
    if (!m || m->id != c.id) return; /* a neighbour was joined elsewhere meanwhile */
    left->id = c.id;
    left->after = right->after;
    right->id = -1;
    if (left->after >= 0) j->s[left->after].before = c.at;
    consider(j, left->before);
    consider(j, c.at);
}

static void encode_word(job *j, piece w)
{
    const int n = (int)w.n;
    for (int i = 0; i < n; i++)
        j->s[i] = (symbol){j->t->byte[i == n - 1][w.p[i]], i - 1, i + 1 < n ? i + 1 : -1};
    j->h.n = 0;
    for (int i = 0; i < n; i++) consider(j, i);
    while (j->h.n) join(j, pop(&j->h));
    for (int i = 0; i >= 0; i = j->s[i].after) emit(j, j->s[i].id);
}

/* ---- From text to words ---- */
/* Bytes of a name of CLIP's own two special tokens at s, or 0. */
static size_t name_length(piece s)
{
    static const char *name[] = {"<|startoftext|>", "<|endoftext|>"};
    for (int k = 0; k < LTN_COUNT(name); k++)
        if (starts(s, text(name[k]))) return strlen(name[k]);
    return 0;
}

/* Normalised text in which nothing is special; those two names, typed in capitals, still keep their words to
 * themselves. */
static void encode_words(job *j, piece s)
{
    size_t n, fence = 0; /* bytes left of a name */
    for (; s.n && j->n < j->room; s.p += n, s.n -= n, fence -= fence ? n : 0) {
        if (!fence) fence = name_length(s);
        if (classify(s, &n) == SPACE) continue;
        n = word_length((piece){s.p, fence ? fence : s.n});
        encode_word(j, (piece){s.p, n});
    }
}

/* The first special token of this kind in s, the longest of several there; *at is where, or s.n. */
static const special *first_special(const ltn_tokenizer *t, piece s, bool normalized, size_t *at)
{
    const special *best = NULL;
    for (*at = 0; *at < s.n; ++*at) {
        for (int k = 0; k < t->nspecial; k++) {
            const special *x = &t->specials[k];
            if (x->normalized != normalized || !starts((piece){s.p + *at, s.n - *at}, x->text)) continue;
            if (!best || x->text.n > best->text.n) best = x;
        }
        if (best) break;
    }
    return best;
}

static void encode_normalized(job *j, piece s)
{
    const special *x;
    do {
        size_t at;
        x = first_special(j->t, s, true, &at);
        encode_words(j, (piece){s.p, at});
        if (x) emit(j, x->id), at += x->text.n;
        s.p += at;
        s.n -= at;
    } while (x && j->n < j->room);
}

/* Text between special tokens, as typed. */
static ltn_status encode_segment(job *j, piece s)
{
    ltn_ctx *ctx = j->t->ctx;
    const piece clear = normalize(ctx, s);
    j->s = ltn__alloc(ctx, clear.n + 1, sizeof *j->s);
    j->h.c = ltn__alloc(ctx, clear.n + 1, 3 * sizeof *j->h.c);
    const bool whole = clear.p && j->s && j->h.c;
    if (whole) encode_normalized(j, clear);
    ltn__free(ctx, j->h.c);
    ltn__free(ctx, j->s);
    ltn__free(ctx, (void *)clear.p);
    return whole ? LTN_OK : LTN_ENOMEM;
}

ltn_status ltn__tokenize(ltn_tokenizer *t, const char *utf8, int *ids, int length)
{
    if (length < 2)
        return ltn__fail(t->ctx, LTN_EINVAL, "%d tokens have no room for start and end", length);
    if (strlen(utf8) > MAX_TEXT)
        return ltn__fail(t->ctx, LTN_EINVAL, "a prompt of more than %d bytes", MAX_TEXT);
    const piece all = clean(t->ctx, text(utf8));
    if (!all.p) return LTN_ENOMEM;
    job j = {.t = t, .ids = ids + 1, .room = length - 2};
    ltn_status s = LTN_OK;
    for (size_t i = 0, at; !s && i < all.n && j.n < j.room; i += at) {
        const special *x = first_special(t, (piece){all.p + i, all.n - i}, false, &at);
        s = encode_segment(&j, (piece){all.p + i, at});
        if (x) emit(&j, x->id), at += x->text.n;
    }
    ids[0] = t->bos;
    ids[1 + j.n] = t->eos;
    for (int i = j.n + 2; i < length; i++) ids[i] = t->pad;
    ltn__free(t->ctx, (void *)all.p);
    return s;
}

int ltn__tokenizer_length(const ltn_tokenizer *t)
{
    return t->length;
}

int ltn__tokenizer_size(const ltn_tokenizer *t)
{
    return t->size;
}

/* ---- Special tokens ---- */
/* What is said last about a token counts. */
static ltn_status add_special(ltn_tokenizer *t, const char *content, int id, bool normalized)
{
    if (!*content) return LTN_OK;
    int k = 0;
    while (k < t->nspecial && strcmp(t->specials[k].content, content)) k++;
    if (k == t->nspecial) {
        special *more = ltn__grow(t->ctx, t->specials, (size_t)k, (size_t)k + 1, sizeof *more);
        if (!more) return LTN_ENOMEM;
        t->specials = more;
        t->nspecial++;
    }
    special *x = &t->specials[k];
    *x = (special){.id = id, .normalized = normalized};
    x->content = ltn__arena_format(&t->arena, "%s", content);
    if (!x->content) return t->nspecial--, LTN_ENOMEM;
    x->text = text(x->content);
    if (!normalized) return LTN_OK;
    const piece lower = normalize(t->ctx, x->text);
    if (lower.p) x->text = text(ltn__arena_format(&t->arena, "%.*s", (int)lower.n, (const char *)lower.p));
    ltn__free(t->ctx, (void *)lower.p);
    return lower.p && x->text.p ? LTN_OK : LTN_ENOMEM;
}

/* The settings beside the vocabulary. */
typedef struct settings {
    const char *dir;
    ltn_json *config, *map;
} settings;

/* "bos_token": "<|startoftext|>", or an object with content and normalized. The map, which older folders
 * have, goes before the config unless that has the newer added_tokens_decoder. */
static ltn_status named_token(ltn_tokenizer *t, const vocabulary *v, const settings *f, const char *key,
                              const char *absent, int *id)
{
    const ltn_json *x = ltn__json_get(f->config, "added_tokens_decoder") ? NULL : ltn__json_get(f->map, key);
    if (!x) x = ltn__json_get(f->config, key);
    const char *content = x && x->type == LTN_JSON_STRING ? x->string : ltn__json_str(x, "content", absent);
    *id = id_of_text(v, content);
    if (*id < 0)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s: %s \"%s\" is not in vocab.json", f->dir, key, content);
    return add_special(t, content, *id, ltn__json_bool(x, "normalized", false));
}

/* "added_tokens_decoder": {"49406": {"content": "<|startoftext|>", "normalized": true}} */
static ltn_status decoder_tokens(ltn_tokenizer *t, const vocabulary *v, const settings *f)
{
    const ltn_json *all = ltn__json_get(f->config, "added_tokens_decoder");
    ltn_status s = LTN_OK;
    for (const ltn_json *e = all && all->type == LTN_JSON_OBJECT ? all->child : NULL; e && !s; e = e->next) {
        const char *content = ltn__json_str(e, "content", ""), *end;
        const double number = ltn__parse_number(e->key, &end);
        if (end == e->key || *end || !(number >= 0 && number < MAX_ID) || number != (int)number)
            return ltn__fail(t->ctx, LTN_EFORMAT, "%s: added_tokens_decoder: \"%s\" is not an id", f->dir,
                             e->key);
        const int known = id_of_text(v, content), id = known < 0 ? (int)number : known;
        t->size = LTN_MAX(t->size, id + 1);
        s = add_special(t, content, id, ltn__json_bool(e, "normalized", false));
    }
    return s;
}

/* ---- Opening ---- */
static ltn_status settings_read(ltn_tokenizer *t, const vocabulary *v, const settings *f)
{
    ltn_status s = named_token(t, v, f, "bos_token", "<|startoftext|>", &t->bos);
    if (!s) s = named_token(t, v, f, "eos_token", "<|endoftext|>", &t->eos);
    if (!s) s = named_token(t, v, f, "unk_token", "<|endoftext|>", &t->unk);
    if (!s) s = named_token(t, v, f, "pad_token", "<|endoftext|>", &t->pad);
    if (!s) s = decoder_tokens(t, v, f);
    if (s) return s;
    const double length = ltn__json_num(f->config, "model_max_length", DEFAULT_LENGTH);
    /* 1e30 stands for: not known */
    t->length = length >= 2 && length <= MAX_LENGTH ? (int)length : DEFAULT_LENGTH;
    return LTN_OK;
}

static ltn_status read_all(ltn_tokenizer *t, const char *dir, const ltn_tokenizer_files *f, ltn_arena *arena)
{
    vocabulary v;
    settings extra = {.dir = dir};
    ltn_status s = vocabulary_read(t, dir, f->vocab, arena, &v);
    if (!s) s = tree(arena, dir, "tokenizer_config.json", f->config, &extra.config);
    if (!s) s = tree(arena, dir, "special_tokens_map.json", f->map, &extra.map);
    if (!s) s = settings_read(t, &v, &extra);
    if (s) return s;
    bytes_read(t, &v);
    return merges_read(t, &v, dir, f->merges);
}

ltn_status ltn__tokenizer_parse(ltn_ctx *ctx, const char *dir, const ltn_tokenizer_files *files,
                                ltn_tokenizer **out)
{
    *out = NULL;
    ltn_tokenizer *t = ltn__alloc(ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    t->ctx = t->arena.ctx = ctx;
    ltn_arena passing = {.ctx = ctx}; /* the files' trees and the table of words */
    const ltn_status s = read_all(t, dir, files, &passing);
    ltn__arena_free(&passing);
    if (s) ltn__tokenizer_close(&t);
    *out = t;
    return s;
}

static ltn_status read_file(ltn_ctx *ctx, const char *dir, const char *name, bool optional, ltn_bytes *out)
{
    char *path = ltn__path_join(ctx, dir, name);
    ltn_status s = path ? LTN_OK : LTN_ENOMEM;
    if (path && (!optional || ltn__file_exists(path))) s = ltn__file_read(ctx, path, out);
    ltn__free(ctx, path);
    return s;
}

/* The folder's files, with this text in place of its configuration unless that is NULL. */
static ltn_status open_folder(ltn_ctx *ctx, const char *dir, char *config, ltn_tokenizer **out)
{
    ltn_tokenizer_files f = {0};
    *out = NULL;
    ltn_status s = read_file(ctx, dir, "vocab.json", false, &f.vocab);
    if (!s) s = read_file(ctx, dir, "merges.txt", false, &f.merges);
    if (!s && !config) s = read_file(ctx, dir, "tokenizer_config.json", true, &f.config);
    if (!s && !config) s = read_file(ctx, dir, "special_tokens_map.json", true, &f.map);
    if (config) f.config = (ltn_bytes){(uint8_t *)config, strlen(config)};
    if (!s) s = ltn__tokenizer_parse(ctx, dir, &f, out);
    ltn__free(ctx, f.vocab.data);
    ltn__free(ctx, f.merges.data);
    if (!config) ltn__free(ctx, f.config.data);
    ltn__free(ctx, f.map.data);
    return s;
}

ltn_status ltn__tokenizer_open(ltn_ctx *ctx, const char *dir, ltn_tokenizer **out)
{
    return open_folder(ctx, dir, NULL, out);
}

static char *padding(ltn_ctx *ctx, const char *pad)
{
    return ltn__format(ctx, "{\"pad_token\": \"%s\"}", pad);
}

ltn_status ltn__tokenizer_open_padded(ltn_ctx *ctx, const char *dir, const char *pad, ltn_tokenizer **out)
{
    char *config = padding(ctx, pad);
    const ltn_status s = config ? open_folder(ctx, dir, config, out) : LTN_ENOMEM;
    ltn__free(ctx, config);
    return s;
}

/* ---- From merges.txt alone ---- */

/* A word of the vocabulary, in the quotes of JSON. */
static bool put_word(ltn_sink *k, const uint8_t *p, size_t n, const char *end, int id)
{
    char number[32];
    bool good = ltn__sink_put(k, id ? ",\"" : "{\"", 2);
    for (size_t i = 0; i < n && good; i++) {
        if (p[i] == '"' || p[i] == '\\') good = ltn__sink_put(k, "\\", 1);
        if (good && p[i] != ' ') good = ltn__sink_put(k, p + i, 1); /* the gap of a pair */
    }
    snprintf(number, sizeof number, "%s\":%d", end, id);
    return good && ltn__sink_put(k, number, strlen(number));
}

/* CLIP's order of the letters: those that print themselves, then the others. */
static bool put_letters(ltn_sink *k, const char *end, int *id)
{
    int other = 256;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < 256; b++) {
            const bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);
            uint8_t utf8[4];
            if (printable == (pass == 1)) continue;
            const size_t n = (size_t)utf8proc_encode_char(printable ? b : other++, utf8);
            if (!put_word(k, utf8, n, end, (*id)++)) return false;
        }
    return true;
}

static bool put_vocabulary(ltn_sink *k, ltn_bytes merges)
{
    int id = 0;
    bool good = put_letters(k, "", &id) && put_letters(k, "</w>", &id);
    for (const uint8_t *p = merges.data, *end = p + merges.size, *stop; p < end && good; p = stop + (stop < end)) {
        stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        size_t n = (size_t)(stop - p);
        if (n && p[n - 1] == '\r') n--;
        if (n && !(n >= 8 && !memcmp(p, "#version", 8))) good = put_word(k, p, n, "", id++);
    }
    good = good && put_word(k, (const uint8_t *)"<|startoftext|>", 15, "", id++);
    good = good && put_word(k, (const uint8_t *)"<|endoftext|>", 13, "", id++);
    return good && ltn__sink_put(k, "}", 1);
}

ltn_status ltn__tokenizer_open_merges(ltn_ctx *ctx, const char *path, bool exclaims, ltn_tokenizer **out)
{
    ltn_tokenizer_files f = {0};
    ltn_sink words = {.ctx = ctx};
    *out = NULL;
    ltn_status s = ltn__file_read(ctx, path, &f.merges);
    if (s) return s;
    char *config = padding(ctx, exclaims ? "!" : "<|endoftext|>");
    if (!config || !put_vocabulary(&words, f.merges)) s = LTN_ENOMEM;
    f.vocab = words.bytes;
    if (config) f.config = (ltn_bytes){(uint8_t *)config, strlen(config)};
    if (!s) s = ltn__tokenizer_parse(ctx, path, &f, out);
    ltn__free(ctx, config);
    ltn__free(ctx, words.bytes.data);
    ltn__free(ctx, f.merges.data);
    return s;
}

void ltn__tokenizer_close(ltn_tokenizer **t)
{
    if (!t || !*t) return;
    ltn_ctx *ctx = (*t)->ctx;
    ltn__free(ctx, (*t)->specials);
    ltn__free(ctx, (*t)->merges);
    ltn__arena_free(&(*t)->arena);
    ltn__free(ctx, *t);
    *t = NULL;
}
