/* SPDX-License-Identifier: BSD-3-Clause */
/* Compiling rules into the index: prefixes. index.h explains it. */
#include <stdlib.h>

#include "table/index-build.h"

/* Prefix lengths 0..128 can nest, one in the other. */
enum { MAX_NESTED = 129 };

/* A node absorbs its parent's boxes if they are at most so many times its
 * own. Sources are rarely looked at, so their chains may be longer. */
static const uint64_t absorb_limit[INDEX_N_PREFIX_DIMS] = {
    [INDEX_DST] = 8,
    [INDEX_SRC] = 2,
};

typedef struct Builder {
    const IndexBox *boxes;
    /* The arrays of the Index, growing. */
    GArray *bounds; /* uint32_t or, for IPv6, IndexAddr */
    GArray *bound_node, *nodes;
    bool ipv6;
    PortBuilder port_builder;
} Builder;

/* A box number with its prefix in one dimension, for sorting. */
typedef struct SortedBox {
    IndexPrefix prefix;
    uint32_t box;
} SortedBox;

/* A prefix around the current place in the sweep. */
typedef struct Frame {
    IndexPrefix prefix;
    uint32_t node;
    GArray *boxes; /* uint32_t: its own and those absorbed; reused */
} Frame;

/* The sweep over the prefixes of one span. */
typedef struct Sweep {
    IndexDim dim;
    Frame frames[MAX_NESTED];
    unsigned depth;
    GArray *addrs; /* IndexAddr: the bounds */
    GArray *nodes; /* uint32_t: their nodes */
    GArray *own;   /* uint32_t: boxes of one prefix */
} Sweep;

static IndexRules build_rules(Builder *builder, BoxList list, IndexDim dim);

static BoxList list_of(GArray *array)
{
    return (BoxList){ u32s(array), array->len };
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_addr(const IndexAddr *a, const IndexAddr *b)
{
    int order = compare_u64(a->hi, b->hi);

    return order ? order : compare_u64(a->lo, b->lo);
}

/* The bits below a prefix of this length. */
static IndexAddr host_bits(uint8_t len)
{
    IndexAddr bits = { 0, 0 };

    if (len < 64) {
        bits.hi = UINT64_MAX >> len;
        bits.lo = UINT64_MAX;
    } else if (len < 128) {
        bits.lo = UINT64_MAX >> (len - 64);
    }
    return bits;
}

/* The first address after the prefix; false if there is none. */
static bool prefix_end(const IndexPrefix *prefix, IndexAddr *end)
{
    IndexAddr bits = host_bits(prefix->len);

    end->hi = prefix->addr.hi | bits.hi;
    end->lo = (prefix->addr.lo | bits.lo) + 1;
    end->hi += end->lo == 0;
    return end->hi != 0 || end->lo != 0;
}

static bool prefix_covers(const IndexPrefix *outer, const IndexPrefix *inner)
{
    IndexAddr bits = host_bits(outer->len);

    return outer->len <= inner->len &&
           outer->addr.hi == (inner->addr.hi & ~bits.hi) &&
           outer->addr.lo == (inner->addr.lo & ~bits.lo);
}

static bool prefix_equal(const IndexPrefix *a, const IndexPrefix *b)
{
    return a->len == b->len && compare_addr(&a->addr, &b->addr) == 0;
}

/* Outer prefixes before inner ones, equal ones in rule order. */
static int compare_sorted(const void *a_ptr, const void *b_ptr)
{
    const SortedBox *a = a_ptr, *b = b_ptr;
    int order = compare_addr(&a->prefix.addr, &b->prefix.addr);

    if (order == 0) {
        order = a->prefix.len - b->prefix.len;
    }
    return order ? order : compare_u64(a->box, b->box);
}

/* --- Prefixes ---------------------------------------------------------- */

/* From addr on, node holds; the last word about an address counts. */
static void sweep_bound(Sweep *sweep, IndexAddr addr, uint32_t node)
{
    guint n = sweep->addrs->len;

    if (n > 0 && compare_addr(&g_array_index(sweep->addrs, IndexAddr, n - 1),
                              &addr) == 0) {
        u32s(sweep->nodes)[n - 1] = node;
        return;
    }
    g_array_append_val(sweep->addrs, addr);
    g_array_append_val(sweep->nodes, node);
}

static Frame *sweep_top(Sweep *sweep)
{
    return sweep->depth ? &sweep->frames[sweep->depth - 1] : NULL;
}

/* The innermost prefix ends. */
static void sweep_pop(Sweep *sweep)
{
    IndexAddr end;
    bool more = prefix_end(&sweep_top(sweep)->prefix, &end);

    sweep->depth--;
    if (more) {
        sweep_bound(sweep, end,
                    sweep->depth ? sweep_top(sweep)->node : INDEX_NONE);
    }
}

/* out = the union of two ascending lists without common members. */
static void merge_lists(GArray *out, GArray *a, GArray *b)
{
    const uint32_t *from_a = u32s(a), *from_b = u32s(b);
    const uint32_t *end_a = from_a + a->len, *end_b = from_b + b->len;
    uint32_t *to;

    g_array_set_size(out, a->len + b->len);
    to = u32s(out);
    while (from_a < end_a && from_b < end_b) {
        *to++ = *from_a < *from_b ? *from_a++ : *from_b++;
    }
    while (from_a < end_a) {
        *to++ = *from_a++;
    }
    while (from_b < end_b) {
        *to++ = *from_b++;
    }
}

/* Gives frame the boxes in sweep->own and, if they are few in comparison,
 * those of its parent. Returns the next node to look at after it. */
static uint32_t fill_frame(Builder *builder, Sweep *sweep, Frame *frame,
                           const Frame *parent)
{
    GArray *own = sweep->own;

    if (parent && parent->boxes->len <= own->len * absorb_limit[sweep->dim]) {
        merge_lists(frame->boxes, own, parent->boxes);
        return g_array_index(builder->nodes, IndexNode, parent->node).up;
    }
    g_array_set_size(frame->boxes, 0);
    g_array_append_vals(frame->boxes, own->data, own->len);
    return parent ? parent->node : INDEX_NONE;
}

static uint32_t add_node(Builder *builder, uint32_t up, IndexRules rules,
                         uint32_t lowest_rule)
{
    IndexNode node = { .up = up, .chain_min = lowest_rule, .rules = rules };

    if (up != INDEX_NONE) {
        uint32_t above = g_array_index(builder->nodes, IndexNode, up).chain_min;

        node.chain_min = MIN(node.chain_min, above);
    }
    g_array_append_val(builder->nodes, node);
    return builder->nodes->len - 1;
}

/* A prefix begins; its boxes are in sweep->own. */
static void sweep_push(Builder *builder, Sweep *sweep,
                       const IndexPrefix *prefix)
{
    const Frame *parent = sweep_top(sweep);
    Frame *frame = &sweep->frames[sweep->depth];
    uint32_t up, lowest;
    IndexRules rules;

    if (!frame->boxes) {
        frame->boxes = array_u32();
    }
    frame->prefix = *prefix;
    up = fill_frame(builder, sweep, frame, parent);
    lowest = builder->boxes[u32s(frame->boxes)[0]].rule;
    rules = build_rules(builder, list_of(frame->boxes), sweep->dim + 1);
    frame->node = add_node(builder, up, rules, lowest);
    sweep->depth++;
    sweep_bound(sweep, prefix->addr, frame->node);
}

static SortedBox *sort_boxes(Builder *builder, BoxList list, IndexDim dim)
{
    SortedBox *sorted = g_new(SortedBox, list.n);

    for (uint32_t i = 0; i < list.n; i++) {
        uint32_t box = list.at[i];

        sorted[i] = (SortedBox){ builder->boxes[box].prefix[dim], box };
    }
    if (list.n > 1) {
        qsort(sorted, list.n, sizeof(*sorted), compare_sorted);
    }
    return sorted;
}

static void sweep_run(Builder *builder, Sweep *sweep, BoxList list)
{
    g_autofree SortedBox *sorted = sort_boxes(builder, list, sweep->dim);

    sweep_bound(sweep, (IndexAddr){ 0, 0 }, INDEX_NONE);
    for (uint32_t i = 0, next; i < list.n; i = next) {
        const IndexPrefix *prefix = &sorted[i].prefix;

        g_array_set_size(sweep->own, 0);
        for (next = i;
             next < list.n && prefix_equal(&sorted[next].prefix, prefix);
             next++) {
            g_array_append_val(sweep->own, sorted[next].box);
        }
        while (sweep->depth &&
               !prefix_covers(&sweep_top(sweep)->prefix, prefix)) {
            sweep_pop(sweep);
        }
        sweep_push(builder, sweep, prefix);
    }
    while (sweep->depth) {
        sweep_pop(sweep);
    }
}

static void append_bound(Builder *builder, const IndexAddr *addr, uint32_t node)
{
    if (builder->ipv6) {
        g_array_append_val(builder->bounds, *addr);
    } else {
        uint32_t addr4 = addr->hi >> 32;

        g_array_append_val(builder->bounds, addr4);
    }
    g_array_append_val(builder->bound_node, node);
}

/* The bounds of the sweep and, above them, the levels of the search tree. */
static IndexSpan append_bounds(Builder *builder, const Sweep *sweep)
{
    IndexSpan span = { builder->bounds->len, sweep->addrs->len };
    const IndexAddr *addrs = (const void *)sweep->addrs->data;
    uint32_t stride = 1;

    for (uint32_t n = span.n; n > 0; n = index_samples(n)) {
        for (uint32_t i = 0; i < n; i++) {
            append_bound(builder, &addrs[(size_t)i * stride],
                         stride == 1 ? u32s(sweep->nodes)[i] : INDEX_NONE);
        }
        stride *= INDEX_FANOUT;
    }
    return span;
}

static IndexSpan build_prefixes(Builder *builder, BoxList list, IndexDim dim)
{
    Sweep sweep = { .dim = dim };
    IndexSpan span;

    sweep.addrs = g_array_new(FALSE, FALSE, sizeof(IndexAddr));
    sweep.nodes = array_u32();
    sweep.own = array_u32();
    sweep_run(builder, &sweep, list);
    span = append_bounds(builder, &sweep);
    for (unsigned i = 0; i < MAX_NESTED && sweep.frames[i].boxes; i++) {
        g_array_unref(sweep.frames[i].boxes);
    }
    g_array_unref(sweep.addrs);
    g_array_unref(sweep.nodes);
    g_array_unref(sweep.own);
    return span;
}

static bool every_source_any(const Builder *builder, BoxList list)
{
    for (uint32_t i = 0; i < list.n; i++) {
        if (builder->boxes[list.at[i]].prefix[INDEX_SRC].len > 0) {
            return false;
        }
    }
    return true;
}

/* What the boxes of list say about dimension dim, if there are sources left
 * to tell apart, and about ports. */
static IndexRules build_rules(Builder *builder, BoxList list, IndexDim dim)
{
    IndexRules rules = { .ports =
                             port_builder_add(&builder->port_builder, list) };

    if (dim == INDEX_SRC && !every_source_any(builder, list)) {
        rules.sources = build_prefixes(builder, list, INDEX_SRC);
    }
    return rules;
}

/* --- The whole --------------------------------------------------------- */

static void builder_init(Builder *builder, const GArray *boxes, bool ipv6)
{
    builder->boxes = (const IndexBox *)(const void *)boxes->data;
    builder->ipv6 = ipv6;
    builder->bounds =
        g_array_new(FALSE, FALSE, ipv6 ? sizeof(IndexAddr) : sizeof(uint32_t));
    builder->bound_node = array_u32();
    builder->nodes = g_array_new(FALSE, FALSE, sizeof(IndexNode));
    port_builder_init(&builder->port_builder, builder->boxes);
}

/* Frees the array; its members live on, without the room to grow. */
static void *take_members(GArray *array)
{
    size_t size = (size_t)array->len * g_array_get_element_size(array);

    return g_realloc(g_array_free(array, FALSE), size);
}

/* Hands the arrays to the index and frees the rest. */
static void builder_finish(Builder *builder, Index *index)
{
    index->n_bounds = builder->bounds->len;
    index->n_nodes = builder->nodes->len;
    if (builder->ipv6) {
        index->bound6 = take_members(builder->bounds);
    } else {
        index->bound4 = take_members(builder->bounds);
    }
    index->bound_node = take_members(builder->bound_node);
    index->nodes = take_members(builder->nodes);
    index->n_ports = builder->port_builder.ports->len;
    index->ports = take_members(port_builder_done(&builder->port_builder));
}

/* The boxes with or without destination "*", in order. */
static GArray *select_boxes(const GArray *boxes, bool any_dst)
{
    GArray *selected = array_u32();

    for (uint32_t i = 0; i < boxes->len; i++) {
        if (g_array_index(boxes, IndexBox, i).any_dst == any_dst) {
            g_array_append_val(selected, i);
        }
    }
    return selected;
}

void index_init(Index *index, const GArray *boxes, bool ipv6)
{
    g_autoptr(GArray) any = select_boxes(boxes, true);
    g_autoptr(GArray) dst = select_boxes(boxes, false);
    Builder builder;

    *index = (Index){ 0 };
    builder_init(&builder, boxes, ipv6);
    if (any->len) {
        index->any = build_rules(&builder, list_of(any), INDEX_SRC);
    }
    if (dst->len) {
        index->dst = build_prefixes(&builder, list_of(dst), INDEX_DST);
    }
    builder_finish(&builder, index);
}
