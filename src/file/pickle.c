/* pickle.c - reads the pickles that torch.save writes, executing nothing: a stack machine whose operations
 * build numbers, texts, tuples, lists and dictionaries, and whose few known functions describe tensors. Any
 * other function is refused by name. Format: Python's pickletools; protocols 2 to 5. */
#include "tensors.h"

#include <inttypes.h>
#include <string.h>

enum { MOST = 1 << 22, LONGEST = 1000 }; /* operations; bytes of a name */

typedef struct machine {
    ltn_ctx *ctx;
    const char *path;
    ltn_arena *arena;
    const uint8_t *p; /* the next byte */
    size_t left;
    ltn_pickle **stack, **memo;
    size_t height, stack_room, memos, memo_room;
    size_t steps; /* operations so far */
    ltn_pickle *storages;
    bool stopped;
} machine;

static ltn_status bad(const machine *m, const char *what)
{
    return ltn__fail(m->ctx, LTN_EFORMAT, "%s: a broken pickle: %s", m->path, what);
}

/* ---- Bytes ---- */
static const uint8_t *take(machine *m, uint64_t n)
{
    if (n > m->left) return bad(m, "it ends too early (truncated?)"), NULL;
    const uint8_t *p = m->p;
    m->p += n;
    m->left -= (size_t)n;
    return p;
}

static bool take_number(machine *m, int bytes, uint64_t *v)
{
    const uint8_t *p = take(m, (uint64_t)bytes);
    if (!p) return false;
    *v = 0;
    for (int i = 0; i < bytes; i++) *v |= (uint64_t)p[i] << 8 * i;
    return true;
}

/* ---- Values ---- */
static ltn_pickle *make(ltn_arena *arena, ltn_pickle_type type)
{
    ltn_pickle *v = ltn__arena_alloc(arena, 1, sizeof *v);
    if (v) v->type = type;
    return v;
}

static ltn_status append(ltn_arena *arena, ltn_pickle *v, ltn_pickle *const *item, size_t n)
{
    if (n > v->room - v->count) {
        const size_t room = LTN_MAX(2 * v->room, v->count + n);
        ltn_pickle **more = ltn__arena_alloc(arena, room, sizeof *more);
        if (!more) return LTN_ENOMEM;
        if (v->count) memcpy(more, v->item, v->count * sizeof *more);
        v->item = more;
        v->room = room;
    }
    if (n) memcpy(v->item + v->count, item, n * sizeof *item);
    v->count += n;
    return LTN_OK;
}

/* ---- Stack ---- */
static ltn_status push(machine *m, ltn_pickle *v)
{
    if (!v) return LTN_ENOMEM;
    if (m->height == m->stack_room) {
        const size_t room = 2 * m->stack_room + 64;
        ltn_pickle **more = ltn__grow(m->ctx, m->stack, m->stack_room, room, sizeof *more);
        if (!more) return LTN_ENOMEM;
        m->stack = more;
        m->stack_room = room;
    }
    m->stack[m->height++] = v;
    return LTN_OK;
}

/* The k-th value from the top, which must be there and be no mark. */
static ltn_pickle *top(machine *m, size_t k)
{
    if (k < m->height && m->stack[m->height - 1 - k]->type != LTN_PICKLE_MARK)
        return m->stack[m->height - 1 - k];
    return bad(m, "a value is missing"), NULL;
}

/* Where the values above the last mark begin; the mark stands right below. */
static ltn_status above_mark(machine *m, size_t *first)
{
    for (*first = m->height; *first; --*first)
        if (m->stack[*first - 1]->type == LTN_PICKLE_MARK) return LTN_OK;
    return bad(m, "a mark is missing");
}

static ltn_status push_new(machine *m, ltn_pickle_type type)
{
    return push(m, make(m->arena, type));
}

static ltn_status push_int(machine *m, int64_t number, ltn_pickle_type type)
{
    ltn_pickle *v = make(m->arena, type);
    if (v) v->number = number;
    return push(m, v);
}

/* ---- Operations: the argument is what the table says ---- */
static ltn_status op_skip(machine *m, int bytes)
{
    return take(m, (uint64_t)bytes) ? LTN_OK : LTN_EFORMAT;
}

static ltn_status op_stop(machine *m, int unused)
{
    m->stopped = true;
    const bool one = m->height == 1 && m->stack[0]->type != LTN_PICKLE_MARK;
    return one ? LTN_OK : bad(m, "it ends with more or less than one value");
}

static ltn_status op_new(machine *m, int type)
{
    return push_new(m, (ltn_pickle_type)type);
}

static ltn_status op_bool(machine *m, int value)
{
    return push_int(m, value, LTN_PICKLE_BOOL);
}

static ltn_status op_real(machine *m, int unused)
{
    return take(m, 8) ? push_new(m, LTN_PICKLE_OTHER) : LTN_EFORMAT;
}

/* One or two bytes without a sign, four with one. */
static ltn_status op_int(machine *m, int bytes)
{
    uint64_t v;
    if (!take_number(m, bytes, &v)) return LTN_EFORMAT;
    return push_int(m, bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v, LTN_PICKLE_INT);
}

/* A length of one byte, then a signed number of so many. */
static ltn_status op_long(machine *m, int unused)
{
    uint64_t bytes, v = 0;
    if (!take_number(m, 1, &bytes)) return LTN_EFORMAT;
    if (bytes > 8) return bad(m, "a number of more than 8 bytes");
    if (!take_number(m, (int)bytes, &v)) return LTN_EFORMAT;
    if (bytes && bytes < 8 && v >> (8 * bytes - 1)) v |= UINT64_MAX << 8 * bytes;
    return push_int(m, (int64_t)v, LTN_PICKLE_INT);
}

/* A text that may be a name; long ones and those with control characters may not. */
static ltn_status push_text(machine *m, const uint8_t *p, size_t n)
{
    if (n > LONGEST) return push_new(m, LTN_PICKLE_OTHER);
    for (size_t i = 0; i < n; i++)
        if (p[i] < ' ') return push_new(m, LTN_PICKLE_OTHER);
    ltn_pickle *v = make(m->arena, LTN_PICKLE_TEXT);
    if (v && !(v->text = ltn__arena_format(m->arena, "%.*s", (int)n, (const char *)p))) v = NULL;
    return push(m, v);
}

/* A length of so many bytes, then the text. */
static ltn_status op_text(machine *m, int bytes)
{
    uint64_t n;
    if (!take_number(m, bytes, &n)) return LTN_EFORMAT;
    const uint8_t *p = take(m, n);
    return p ? push_text(m, p, (size_t)n) : LTN_EFORMAT;
}

static ltn_status collect(machine *m, size_t first, size_t below)
{
    ltn_pickle *v = make(m->arena, LTN_PICKLE_TUPLE);
    const ltn_status s = v ? append(m->arena, v, m->stack + first, m->height - first) : LTN_ENOMEM;
    if (s) return s;
    m->height = below;
    return push(m, v);
}

static ltn_status op_tuple(machine *m, int unused)
{
    size_t first;
    const ltn_status s = above_mark(m, &first);
    return s ? s : collect(m, first, first - 1);
}

static ltn_status op_tuple_of(machine *m, int n)
{
    for (size_t k = 0; k < (size_t)n; k++)
        if (!top(m, k)) return LTN_EFORMAT;
    return collect(m, m->height - (size_t)n, m->height - (size_t)n);
}

/* Moves the values from `first` on into the container that stands before them (and before their mark). */
static ltn_status fill(machine *m, size_t first, size_t below, ltn_pickle_type type)
{
    ltn_pickle *v = below ? m->stack[below - 1] : NULL;
    if (!v || v->type != type) return bad(m, "items for no container of theirs");
    if (type == LTN_PICKLE_DICT && (m->height - first) % 2) return bad(m, "a key without a value");
    const ltn_status s = append(m->arena, v, m->stack + first, m->height - first);
    m->height = below;
    return s;
}

static ltn_status op_items(machine *m, int type)
{
    size_t first;
    const ltn_status s = above_mark(m, &first);
    return s ? s : fill(m, first, first - 1, (ltn_pickle_type)type);
}

static ltn_status op_append(machine *m, int unused)
{
    return top(m, 0) ? fill(m, m->height - 1, m->height - 1, LTN_PICKLE_LIST) : LTN_EFORMAT;
}

static ltn_status op_item(machine *m, int unused)
{
    return top(m, 0) && top(m, 1) ? fill(m, m->height - 2, m->height - 2, LTN_PICKLE_DICT) : LTN_EFORMAT;
}

/* ---- Memo: numbers given in turn, or a gap at most as long as the operations so far ---- */
static ltn_status put(machine *m, uint64_t k)
{
    ltn_pickle *v = top(m, 0);
    if (!v) return LTN_EFORMAT;
    if (k > m->steps) return bad(m, "a number in its memo that is out of turn");
    if (k >= m->memo_room) {
        const size_t room = 2 * (size_t)k + 64;
        ltn_pickle **more = ltn__grow(m->ctx, m->memo, m->memo_room, room, sizeof *more);
        if (!more) return LTN_ENOMEM;
        m->memo = more;
        m->memo_room = room;
    }
    m->memos = LTN_MAX(m->memos, (size_t)k + 1);
    m->memo[k] = v;
    return LTN_OK;
}

static ltn_status op_put(machine *m, int bytes)
{
    uint64_t k;
    return take_number(m, bytes, &k) ? put(m, k) : LTN_EFORMAT;
}

static ltn_status op_memoize(machine *m, int unused)
{
    return put(m, m->memos);
}

static ltn_status op_get(machine *m, int bytes)
{
    uint64_t k;
    if (!take_number(m, bytes, &k)) return LTN_EFORMAT;
    if (k >= m->memos || !m->memo[k]) return bad(m, "it refers to a value that is not there");
    return push(m, m->memo[k]);
}

/* ---- Functions ---- */
static ltn_status wrong_call(ltn_ctx *ctx, const char *path)
{
    return ltn__fail(ctx, LTN_EFORMAT, "%s: a broken pickle: a function with arguments that are not its own",
                     path);
}

/* OrderedDict(), or of a list of pairs. */
static ltn_status call_dict(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_pickle *args,
                            ltn_pickle **out)
{
    ltn_pickle *v = *out = make(arena, LTN_PICKLE_DICT);
    if (!v) return LTN_ENOMEM;
    if (!args->count) return LTN_OK;
    const ltn_pickle *list = args->item[0];
    if (args->count > 1 || list->type != LTN_PICKLE_LIST) return wrong_call(ctx, path);
    ltn_status s = LTN_OK;
    for (size_t i = 0; i < list->count && !s; i++) {
        const ltn_pickle *pair = list->item[i];
        if ((pair->type != LTN_PICKLE_LIST && pair->type != LTN_PICKLE_TUPLE) || pair->count != 2)
            return wrong_call(ctx, path);
        s = append(arena, v, pair->item, 2);
    }
    return s;
}

/* (storage, offset, sizes, strides, and what says nothing of the values). */
static ltn_status call_tensor(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_pickle *args,
                              ltn_pickle **out)
{
    if (args->count < 4 || args->item[0]->type != LTN_PICKLE_STORAGE ||
        args->item[1]->type != LTN_PICKLE_INT || args->item[2]->type != LTN_PICKLE_TUPLE ||
        args->item[3]->type != LTN_PICKLE_TUPLE || args->item[2]->count != args->item[3]->count)
        return wrong_call(ctx, path);
    for (int k = 2; k < 4; k++)
        for (size_t i = 0; i < args->item[k]->count; i++)
            if (args->item[k]->item[i]->type != LTN_PICKLE_INT) return wrong_call(ctx, path);
    if (!(*out = make(arena, LTN_PICKLE_TENSOR))) return LTN_ENOMEM;
    return append(arena, *out, args->item, 4);
}

/* (tensor, requires_grad, hooks): the tensor. */
static ltn_status call_parameter(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_pickle *args,
                                 ltn_pickle **out)
{
    if (!args->count || args->item[0]->type != LTN_PICKLE_TENSOR) return wrong_call(ctx, path);
    *out = args->item[0];
    return LTN_OK;
}

static const ltn_pickle_global globals[] = {
    {"collections", "OrderedDict", call_dict, 0, -1},
    {"torch._utils", "_rebuild_tensor_v2", call_tensor, 0, -1},
    {"torch._utils", "_rebuild_tensor", call_tensor, 0, -1},
    {"torch._utils", "_rebuild_parameter", call_parameter, 0, -1},
    {"torch", "FloatStorage", NULL, 4, LTN_F32},
    {"torch", "HalfStorage", NULL, 2, LTN_F16},
    {"torch", "BFloat16Storage", NULL, 2, LTN_BF16},
    {"torch", "DoubleStorage", NULL, 8, LTN_F64},
    {"torch", "LongStorage", NULL, 8, -1},
    {"torch", "IntStorage", NULL, 4, -1},
    {"torch", "ShortStorage", NULL, 2, -1},
    {"torch", "CharStorage", NULL, 1, -1},
    {"torch", "ByteStorage", NULL, 1, -1},
    {"torch", "BoolStorage", NULL, 1, -1},
};

static ltn_status push_global(machine *m, const char *module, const char *name)
{
    for (int i = 0; i < LTN_COUNT(globals); i++) {
        if (strcmp(globals[i].module, module) || strcmp(globals[i].name, name)) continue;
        ltn_pickle *v = make(m->arena, LTN_PICKLE_GLOBAL);
        if (v) v->global = &globals[i];
        return push(m, v);
    }
    return ltn__fail(m->ctx, LTN_EFORMAT,
                     "%s: refers to %.100s.%.100s, which a weight file has no business with", m->path, module,
                     name);
}

/* A line of text, as a value on the stack. */
static ltn_status push_line(machine *m)
{
    const uint8_t *end = memchr(m->p, '\n', LTN_MIN(m->left, LONGEST));
    if (!end) return bad(m, "a name without an end");
    const size_t n = (size_t)(end - m->p);
    return push_text(m, take(m, n + 1), n);
}

static ltn_status op_stack_global(machine *m, int unused)
{
    const ltn_pickle *name = top(m, 0), *module = top(m, 1);
    if (!name || !module) return LTN_EFORMAT;
    if (name->type != LTN_PICKLE_TEXT || module->type != LTN_PICKLE_TEXT)
        return bad(m, "a name that is no text");
    m->height -= 2;
    return push_global(m, module->text, name->text);
}

static ltn_status op_global(machine *m, int unused)
{
    ltn_status s = push_line(m);
    if (!s) s = push_line(m);
    return s ? s : op_stack_global(m, unused);
}

static ltn_status op_call(machine *m, int unused)
{
    ltn_pickle *args = top(m, 0), *f = top(m, 1), *v;
    if (!args || !f) return LTN_EFORMAT;
    if (f->type != LTN_PICKLE_GLOBAL || !f->global->call || args->type != LTN_PICKLE_TUPLE)
        return bad(m, "it calls what is no function");
    const ltn_status s = f->global->call(m->ctx, m->path, m->arena, args, &v);
    if (s) return s;
    m->height -= 2;
    return push(m, v);
}

/* The attributes of a dictionary, which say nothing of the weights. */
static ltn_status op_build(machine *m, int unused)
{
    const ltn_pickle *state = top(m, 0), *v = top(m, 1);
    if (!state || !v) return LTN_EFORMAT;
    if (v->type != LTN_PICKLE_DICT) return bad(m, "attributes for what is no dictionary");
    m->height--;
    return LTN_OK;
}

/* ("storage", type, key, device, elements), and in old files a view of it. */
static ltn_status op_storage(machine *m, int unused)
{
    const ltn_pickle *id = top(m, 0);
    if (!id) return LTN_EFORMAT;
    ltn_pickle *const *item = id->item;
    if (id->type != LTN_PICKLE_TUPLE || id->count < 5 || item[0]->type != LTN_PICKLE_TEXT ||
        strcmp(item[0]->text, "storage") || item[1]->type != LTN_PICKLE_GLOBAL || item[1]->global->call ||
        item[2]->type != LTN_PICKLE_TEXT || item[4]->type != LTN_PICKLE_INT || item[4]->number < 0)
        return bad(m, "a storage that is not described as one");
    if (id->count > 5 && item[5]->type != LTN_PICKLE_NONE)
        return ltn__fail(m->ctx, LTN_EFORMAT, "%s: storage %s is a view of another one", m->path,
                         item[2]->text);
    ltn_pickle *v = make(m->arena, LTN_PICKLE_STORAGE);
    if (v) *v = (ltn_pickle){.type = LTN_PICKLE_STORAGE, .global = item[1]->global, .text = item[2]->text,
                             .number = item[4]->number};
    m->height--;
    const ltn_status s = v ? append(m->arena, m->storages, &v, 1) : LTN_ENOMEM;
    return s ? s : push(m, v);
}

static const struct operation {
    uint8_t code;
    ltn_status (*run)(machine *m, int argument);
    int argument;
} operations[] = {
    {0x80, op_skip, 1} /* protocol */, {0x95, op_skip, 8} /* frame */, {'.', op_stop, 0},
    {'(', op_new, LTN_PICKLE_MARK}, {'N', op_new, LTN_PICKLE_NONE}, {'}', op_new, LTN_PICKLE_DICT},
    {']', op_new, LTN_PICKLE_LIST}, {')', op_new, LTN_PICKLE_TUPLE},
    {0x88, op_bool, 1}, {0x89, op_bool, 0}, {'G', op_real, 0},
    {'K', op_int, 1}, {'M', op_int, 2}, {'J', op_int, 4}, {0x8a, op_long, 0},
    {'U', op_text, 1}, {0x8c, op_text, 1}, {'T', op_text, 4}, {'X', op_text, 4}, {0x8d, op_text, 8},
    {'t', op_tuple, 0}, {0x85, op_tuple_of, 1}, {0x86, op_tuple_of, 2}, {0x87, op_tuple_of, 3},
    {'a', op_append, 0}, {'e', op_items, LTN_PICKLE_LIST},
    {'s', op_item, 0}, {'u', op_items, LTN_PICKLE_DICT},
    {'q', op_put, 1}, {'r', op_put, 4}, {0x94, op_memoize, 0}, {'h', op_get, 1}, {'j', op_get, 4},
    {'c', op_global, 0}, {0x93, op_stack_global, 0}, {'R', op_call, 0}, {'b', op_build, 0},
    {'Q', op_storage, 0},
};

static ltn_status step(machine *m)
{
    const uint8_t *code = take(m, 1);
    if (!code) return LTN_EFORMAT;
    if (++m->steps > MOST) return bad(m, "more operations than any weight file has");
    for (int i = 0; i < LTN_COUNT(operations); i++)
        if (operations[i].code == *code) return operations[i].run(m, operations[i].argument);
    return ltn__fail(m->ctx, LTN_EFORMAT,
                     "%s: a broken pickle: operation 0x%02x is none that weight files have", m->path, *code);
}

ltn_status ltn__pickle_load(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t *at,
                            ltn_arena *arena, ltn_pickle **out, ltn_pickle **storages)
{
    machine m = {.ctx = ctx, .path = path, .arena = arena, .p = p + *at, .left = n - *at};
    ltn_status s = (*storages = m.storages = make(arena, LTN_PICKLE_LIST)) ? LTN_OK : LTN_ENOMEM;
    while (!s && !m.stopped) s = step(&m);
    if (!s) *out = m.stack[0];
    *at = n - m.left;
    ltn__free(ctx, m.stack);
    ltn__free(ctx, m.memo);
    return s;
}
