/* words.c - which captions a text is near to, counted from the empty prompt's text e:
 *
 *     score = <c - e, c_k - e> / (|c - e| |c_k - e|)
 *
 * over all tokens; 0 where the text or the caption is the empty prompt itself. */
#include <math.h>

#include "../model/model.h"

static double cosine(const float *a, const float *b, const float *e, size_t n)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        const double u = (double)a[i] - e[i], v = (double)b[i] - e[i];
        aa += u * u;
        bb += v * v;
        ab += u * v;
    }
    return aa * bb > 0 ? ab / sqrt(aa * bb) : 0;
}

ltn_status ltn_words(ltn_model *m, const ltn_array *text, const char *const *caption, int n, double *score)
{
    if (text->rank != 3 || text->dim[0] != 1 || text->dim[1] != m->text_length || text->dim[2] != m->text_width)
        return ltn__fail(m->ctx, LTN_ESHAPE, "the text must be 1 x %d x %d for this model", m->text_length,
                         m->text_width);
    const size_t count = (size_t)m->text_length * (size_t)m->text_width;
    ltn_array empty, words;
    ltn_status s = ltn__model_empty(m, &empty);
    for (int i = 0; i < n && !s && !(s = ltn_model_text(m, caption[i], &words)); i++) {
        score[i] = cosine(text->data, words.data, empty.data, count);
        ltn_array_free(m->ctx, &words);
    }
    ltn_array_free(m->ctx, &empty);
    return s;
}
