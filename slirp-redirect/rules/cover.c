/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds the earlier rule that leaves a later one nothing to match.
 *
 * Theory of operation. A rule E covers a later rule R if in every dimension
 * - section, source, destination, ports, protocol - E takes all that R takes.
 * Comparing R with every earlier rule would be quadratic, so E is filed under
 * the path (section, source prefix, destination, port block) in a tree whose
 * edges are one hash table. What covers R in one dimension is few: the same
 * section or none, the shorter prefixes of an address, the larger blocks of a
 * port. Walking only those, and of them only the lengths that occur, finds
 * every candidate. A range of ports is filed under the one or two aligned
 * blocks of about its own size that hold it; R looks for the blocks around its
 * first port. Candidates are then compared in full. Most edges asked for do
 * not exist, so a bit map of hash values answers first.
 *
 * A rule that is itself covered is not filed: what it covers, its own coverer
 * covers too. Cover by several rules together is not looked for.
 *
 * The walk of a contrived set could still be long, so steps are counted. When
 * STEPS_MAX are used up no more findings are made: this is advice, and late
 * advice is worth less than none. 100,000 ordinary rules stay within it.
 */
#include "cover.h"

#include <string.h>

enum {
    STEPS_MAX = 4 * 1000 * 1000,
    STEPS_OF_HIT = 4, /* memory is touched, not just the filter */
    FILTER_BITS = 20,
    BLOCK_SIZE = 1 << 18,
};

/* The keywords that stand for a list of prefixes. */
enum { KEYWORD_FIRST = RULE_DST_HOST, N_DST_KINDS = RULE_DST_META + 1 };

/* What a destination of one kind and family takes. */
typedef struct DstSet {
    GArray *prefixes; /* of one family; NULL = its addresses are not known */
    IpPrefix hull;    /* the smallest prefix around them */
    bool empty;
} DstSet;

/* Dimensions, from the root of the tree. */
typedef enum Dimension { DIM_SECTION, DIM_SRC, DIM_DST, DIM_PORT } Dimension;

/* How an edge is labelled. */
typedef enum EdgeTag {
    EDGE_NONE,    /* no section, no source, "*" of one family */
    EDGE_PREFIX,  /* an address prefix or a port block */
    EDGE_KEYWORD, /* EDGE_KEYWORD + RuleDstKind */
} EdgeTag;

typedef struct Edge {
    uint32_t parent; /* node */
    uint8_t tag;
    uint8_t len;
    uint8_t family;
    uint8_t pad;
    uint8_t bytes[16];
} Edge;

typedef struct Node {
    Edge edge; /* the key, first */
    uint32_t id;
    uint64_t lens[3]; /* prefix lengths of the edges that leave here */
    uint32_t tags;    /* other edges that leave here */
    struct Filed *first, *last; /* at the leaves, in rule order */
} Node;

typedef struct Filed {
    const Rule *rule;
    unsigned order;
    struct Filed *next;
} Filed;

struct CoverIndex {
    const RuleNet *net;
    DstSet sets[N_DST_KINDS][2]; /* by family, v4 first */
    GHashTable *nodes;           /* a set of Node, by edge */
    uint64_t *filter;            /* a bit for each hash value in nodes */
    GPtrArray *blocks;           /* memory of nodes and filings */
    size_t block_used;
    Node *root;
    unsigned steps;
    unsigned n_rules;
};

/* One query. */
typedef struct Search {
    CoverIndex *index;
    const Rule *rule;
    unsigned half; /* the family looked at: 0 = v4, 1 = v6 */
    Filed best;
} Search;

/* Destinations */

static const uint8_t half_family[2] = { AF_INET, AF_INET6 };

static uint8_t half_mask(unsigned half)
{
    return half == 0 ? RULE_V4 : RULE_V6;
}

/* The longest prefix that both are in. */
static IpPrefix common_prefix(IpPrefix a, const IpPrefix *b)
{
    a.len = MIN(a.len, b->len);
    for (;;) {
        a = ipprefix_masked(&a);
        if (ipprefix_covers(&a, b)) {
            return a;
        }
        a.len--;
    }
}

static void dst_set_init(DstSet *set, const GArray *all, unsigned half)
{
    set->prefixes = g_array_new(FALSE, FALSE, sizeof(IpPrefix));
    for (unsigned i = 0; i < all->len; i++) {
        const IpPrefix *prefix = &g_array_index(all, IpPrefix, i);

        if (prefix->addr.family == half_family[half]) {
            set->hull =
                set->prefixes->len ? common_prefix(set->hull, prefix) : *prefix;
            g_array_append_vals(set->prefixes, prefix, 1);
        }
    }
    set->empty = set->prefixes->len == 0;
}

/* Without a network some keywords are just words. */
static bool is_opaque(RuleDstKind kind, const RuleNet *net)
{
    return !net && (kind == RULE_DST_HOST || kind == RULE_DST_DNS ||
                    kind == RULE_DST_PRIVATE);
}

static void init_sets(CoverIndex *index)
{
    for (unsigned kind = KEYWORD_FIRST; kind < N_DST_KINDS; kind++) {
        Rule rule = { .dst_kind = (RuleDstKind)kind };
        GArray *all = rule_dst_prefixes(&rule, index->net);

        for (unsigned half = 0; half < 2; half++) {
            DstSet *set = &index->sets[kind][half];

            if (is_opaque(rule.dst_kind, index->net)) {
                set->hull.addr.family = half_family[half];
            } else {
                dst_set_init(set, all, half);
            }
        }
        g_array_unref(all);
    }
}

/* Does the keyword take all of prefix? Holes are never covered by two. */
static bool set_covers(const DstSet *set, const IpPrefix *prefix)
{
    for (unsigned i = 0; set->prefixes && i < set->prefixes->len; i++) {
        if (ipprefix_covers(&g_array_index(set->prefixes, IpPrefix, i),
                            prefix)) {
            return true;
        }
    }
    return false;
}

/* Does keyword a take all that keyword b takes? */
static bool keyword_covers(const CoverIndex *index, RuleDstKind a,
                           RuleDstKind b, unsigned half)
{
    const DstSet *inner = &index->sets[b][half];

    if (a == b || inner->empty) {
        return true;
    }
    for (unsigned i = 0; inner->prefixes && i < inner->prefixes->len; i++) {
        if (!set_covers(&index->sets[a][half],
                        &g_array_index(inner->prefixes, IpPrefix, i))) {
            return false;
        }
    }
    return inner->prefixes != NULL;
}

/* The broadcast address of the own network; only UDP can reach it. */
static bool holds_own_broadcast(const CoverIndex *index, const Rule *rule)
{
    IpAddr last;
    unsigned len;

    if (!index->net || !(rule->protocols & RULE_UDP) ||
        index->net->vnet4.addr.family != AF_INET) {
        return false;
    }
    last = index->net->vnet4.addr;
    len = index->net->vnet4.len;
    for (unsigned bit = len; bit < 32; bit++) {
        last.bytes[bit / 8] |= 0x80 >> bit % 8;
    }
    return ipprefix_contains(&rule->dst, &last);
}

/* "*" leaves multicast and broadcast alone, so it does not cover a prefix
 * that holds some. */
static bool star_covers(const CoverIndex *index, const Rule *rule)
{
    static const IpPrefix exempt[] = {
        { { AF_INET, { 224 } }, 4 },
        { { AF_INET, { 255, 255, 255, 255 } }, 32 },
        { { AF_INET6, { 0xff } }, 8 },
    };

    if (rule->dst_kind != RULE_DST_PREFIX) {
        return true;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(exempt); i++) {
        if (ipprefix_covers(&exempt[i], &rule->dst) ||
            ipprefix_covers(&rule->dst, &exempt[i])) {
            return false;
        }
    }
    return !holds_own_broadcast(index, rule);
}

/* The smallest prefix around the rule's destinations of a family. */
static IpPrefix hull_of(const CoverIndex *index, const Rule *rule,
                        unsigned half)
{
    switch (rule->dst_kind) {
    case RULE_DST_ANY:
        return (IpPrefix){ { half_family[half], { 0 } }, 0 };
    case RULE_DST_PREFIX:
        return rule->dst;
    default:
        return index->sets[rule->dst_kind][half].hull;
    }
}

static bool dst_covers(const CoverIndex *index, const Rule *outer,
                       const Rule *inner, unsigned half)
{
    IpPrefix hull = hull_of(index, inner, half);

    switch (outer->dst_kind) {
    case RULE_DST_ANY:
        return star_covers(index, inner);
    case RULE_DST_PREFIX:
        return ipprefix_covers(&outer->dst, &hull);
    default:
        if (inner->dst_kind == RULE_DST_ANY) {
            return false;
        }
        return inner->dst_kind == RULE_DST_PREFIX
                   ? set_covers(&index->sets[outer->dst_kind][half], &hull)
                   : keyword_covers(index, outer->dst_kind, inner->dst_kind,
                                    half);
    }
}

/* The families in which the rule can match anything on this network. */
static uint8_t live_families(const CoverIndex *index, const Rule *rule)
{
    uint8_t live = 0;

    for (unsigned half = 0; half < 2; half++) {
        const RuleNet *net = index->net;
        bool off =
            net && (half == 0 ? &net->vnet4 : &net->vnet6)->addr.family == 0;
        bool empty = (unsigned)rule->dst_kind >= KEYWORD_FIRST &&
                     index->sets[rule->dst_kind][half].empty;

        if (!off && !empty) {
            live |= rule->families & half_mask(half);
        }
    }
    return live;
}

static bool prefix_or_any_covers(const IpPrefix *outer, const IpPrefix *inner)
{
    return outer->addr.family == 0 || ipprefix_covers(outer, inner);
}

static bool rule_covers(const CoverIndex *index, const Rule *outer,
                        const Rule *inner)
{
    uint8_t families = live_families(index, inner);

    if ((outer->protocols & inner->protocols) != inner->protocols ||
        (outer->families & families) != families ||
        outer->ports.lo > inner->ports.lo ||
        outer->ports.hi < inner->ports.hi ||
        !prefix_or_any_covers(&outer->src, &inner->src)) {
        return false;
    }
    for (unsigned half = 0; half < 2; half++) {
        if ((families & half_mask(half)) &&
            !dst_covers(index, outer, inner, half)) {
            return false;
        }
    }
    return true;
}

/* The tree */

static guint edge_hash(gconstpointer key)
{
    uint64_t word[sizeof(Edge) / sizeof(uint64_t)], hash = 0;

    memcpy(word, key, sizeof(word));
    for (unsigned i = 0; i < G_N_ELEMENTS(word); i++) {
        hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return (guint)(hash >> 16);
}

static gboolean edge_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Edge)) == 0;
}

/* Nodes live as long as the index, so they are cut from large blocks. */
static void *take(CoverIndex *index, size_t size)
{
    char *block;

    if (index->blocks->len == 0 || index->block_used + size > BLOCK_SIZE) {
        g_ptr_array_add(index->blocks, g_malloc0(BLOCK_SIZE));
        index->block_used = 0;
    }
    block = g_ptr_array_index(index->blocks, index->blocks->len - 1);
    block += index->block_used;
    index->block_used += size;
    return block;
}

static Edge prefix_edge(const Node *parent, const IpPrefix *prefix)
{
    Edge edge = { .parent = parent->id,
                  .tag = EDGE_PREFIX,
                  .len = prefix->len,
                  .family = prefix->addr.family };

    memcpy(edge.bytes, prefix->addr.bytes, sizeof(edge.bytes));
    return edge;
}

static Edge word_edge(const Node *parent, unsigned tag, unsigned half)
{
    return (Edge){ .parent = parent->id,
                   .tag = (uint8_t)tag,
                   .family = half_family[half] };
}

/* Ports are 16-bit addresses of a family of their own. */
static IpPrefix port_block(unsigned port, unsigned len)
{
    IpPrefix block = { { 0, { (uint8_t)(port >> 8), (uint8_t)port } },
                       (uint8_t)len };

    return ipprefix_masked(&block);
}

/* The bit of an edge in the filter; *word is where it stands. */
static uint64_t filter_bit(const CoverIndex *index, const Edge *edge,
                           uint64_t **word)
{
    guint hash = edge_hash(edge) % (1u << FILTER_BITS);

    *word = &index->filter[hash / 64];
    return UINT64_C(1) << hash % 64;
}

static Node *find_node(const CoverIndex *index, const Edge *edge)
{
    uint64_t *word, bit = filter_bit(index, edge, &word);

    return *word & bit ? g_hash_table_lookup(index->nodes, edge) : NULL;
}

static Node *grow(CoverIndex *index, Node *parent, const Edge *edge)
{
    Node *node = find_node(index, edge);
    uint64_t *word, bit = filter_bit(index, edge, &word);

    if (node) {
        return node;
    }
    node = take(index, sizeof(*node));
    node->edge = *edge;
    node->id = g_hash_table_size(index->nodes) + 1;
    g_hash_table_add(index->nodes, node);
    *word |= bit;
    if (edge->tag == EDGE_PREFIX) {
        parent->lens[edge->len / 64] |= UINT64_C(1) << edge->len % 64;
    } else {
        parent->tags |= 1u << edge->tag;
    }
    return node;
}

CoverIndex *cover_index_new(const RuleNet *net)
{
    CoverIndex *index = g_new0(CoverIndex, 1);

    index->net = net;
    index->nodes = g_hash_table_new(edge_hash, edge_equal);
    index->filter = g_new0(uint64_t, (1u << FILTER_BITS) / 64);
    index->blocks = g_ptr_array_new_with_free_func(g_free);
    index->root = take(index, sizeof(Node));
    init_sets(index);
    return index;
}

void cover_index_free(CoverIndex *index)
{
    for (unsigned i = 0; i < N_DST_KINDS * 2; i++) {
        if (index->sets[i / 2][i % 2].prefixes) {
            g_array_unref(index->sets[i / 2][i % 2].prefixes);
        }
    }
    g_hash_table_unref(index->nodes);
    g_ptr_array_unref(index->blocks);
    g_free(index->filter);
    g_free(index);
}

/* Filing */

static void file_at(CoverIndex *index, Node *node, const Filed *filed)
{
    Filed *entry = take(index, sizeof(*entry));

    *entry = *filed;
    if (node->last) {
        node->last->next = entry;
    } else {
        node->first = entry;
    }
    node->last = entry;
}

/* Blocks at least as large as the range: it lies in one or in two of them. */
static void file_ports(CoverIndex *index, Node *node, const Filed *filed)
{
    unsigned lo = filed->rule->ports.lo, hi = filed->rule->ports.hi;
    unsigned len = 16;

    while (len > 0 && (1u << (16 - len)) < hi - lo + 1) {
        len--;
    }
    for (;;) {
        IpPrefix block = port_block(lo, len);
        Edge edge = prefix_edge(node, &block);

        file_at(index, grow(index, node, &edge), filed);
        if (lo >> (16 - len) == hi >> (16 - len)) {
            return;
        }
        lo = hi;
    }
}

static void file_dst(CoverIndex *index, Node *node, const Filed *filed,
                     unsigned half)
{
    const Rule *rule = filed->rule;
    Edge edge;

    switch (rule->dst_kind) {
    case RULE_DST_ANY:
        edge = word_edge(node, EDGE_NONE, half);
        break;
    case RULE_DST_PREFIX:
        edge = prefix_edge(node, &rule->dst);
        break;
    default:
        edge = word_edge(node, EDGE_KEYWORD + rule->dst_kind, half);
    }
    file_ports(index, grow(index, node, &edge), filed);
}

static Node *grow_optional(CoverIndex *index, Node *node,
                           const IpPrefix *prefix)
{
    Edge edge = prefix->addr.family == 0 ? word_edge(node, EDGE_NONE, 0)
                                         : prefix_edge(node, prefix);

    return grow(index, node, &edge);
}

static const IpPrefix *section_of(const CoverIndex *index, const Rule *rule)
{
    static const IpPrefix none;

    /* All rules looked at apply to the one network there is. */
    return index->net ? &none : &rule->section;
}

static void file_rule(CoverIndex *index, const Rule *rule, uint8_t families)
{
    Filed filed = { rule, index->n_rules, NULL };
    Node *node = grow_optional(index, index->root, section_of(index, rule));

    node = grow_optional(index, node, &rule->src);
    for (unsigned half = 0; half < 2; half++) {
        if (families & half_mask(half)) {
            file_dst(index, node, &filed, half);
        }
    }
}

/* Searching */

static void descend(Search *search, Node *node, Dimension dim);

static void visit_leaf(Search *search, const Node *node)
{
    for (const Filed *filed = node->first; filed; filed = filed->next) {
        if ((search->best.rule && filed->order >= search->best.order) ||
            search->index->steps >= STEPS_MAX) {
            return;
        }
        search->index->steps += STEPS_OF_HIT;
        if (rule_covers(search->index, filed->rule, search->rule)) {
            search->best = *filed;
            return;
        }
    }
}

static void follow(Search *search, const Edge *edge, Dimension dim)
{
    Node *node = find_node(search->index, edge);

    if (!node) {
        return;
    }
    search->index->steps += STEPS_OF_HIT;
    if (search->index->steps >= STEPS_MAX) {
        return;
    }
    if (dim == DIM_PORT) {
        visit_leaf(search, node);
    } else {
        descend(search, node, dim + 1);
    }
}

static void follow_word(Search *search, const Node *node, unsigned tag,
                        unsigned half, Dimension dim)
{
    Edge edge = word_edge(node, tag, half);

    if (node->tags & (1u << tag)) {
        follow(search, &edge, dim);
    }
}

/* Every prefix that holds this one and has been filed. */
static void follow_prefixes(Search *search, const Node *node, IpPrefix prefix,
                            Dimension dim)
{
    for (int len = prefix.len; len >= 0; len--) {
        if (node->lens[len / 64] & (UINT64_C(1) << len % 64)) {
            prefix.len = (uint8_t)len;
            prefix = ipprefix_masked(&prefix);
            Edge edge = prefix_edge(node, &prefix);

            search->index->steps++;
            follow(search, &edge, dim);
        }
    }
}

static void descend_section(Search *search, Node *node)
{
    const IpPrefix *section = section_of(search->index, search->rule);
    Edge edge = prefix_edge(node, section);

    follow_word(search, node, EDGE_NONE, 0, DIM_SECTION);
    if (section->addr.family != 0) {
        follow(search, &edge, DIM_SECTION);
    }
}

static void descend_dst(Search *search, Node *node)
{
    IpPrefix hull = hull_of(search->index, search->rule, search->half);

    follow_word(search, node, EDGE_NONE, search->half, DIM_DST);
    for (unsigned kind = KEYWORD_FIRST; kind < N_DST_KINDS; kind++) {
        follow_word(search, node, EDGE_KEYWORD + kind, search->half, DIM_DST);
    }
    follow_prefixes(search, node, hull, DIM_DST);
}

static void descend(Search *search, Node *node, Dimension dim)
{
    const Rule *rule = search->rule;

    switch (dim) {
    case DIM_SECTION:
        descend_section(search, node);
        break;
    case DIM_SRC:
        follow_word(search, node, EDGE_NONE, 0, dim);
        if (rule->src.addr.family != 0) {
            follow_prefixes(search, node, rule->src, dim);
        }
        break;
    case DIM_DST:
        descend_dst(search, node);
        break;
    case DIM_PORT:
        follow_prefixes(search, node, port_block(rule->ports.lo, 16), dim);
        break;
    }
}

const Rule *cover_index_add(CoverIndex *index, const Rule *rule)
{
    uint8_t families = live_families(index, rule);
    Search search = {
        index, rule, families & RULE_V4 ? 0 : 1, { NULL, 0, NULL }
    };

    index->n_rules++;
    if (families == 0 || index->steps >= STEPS_MAX) {
        return NULL;
    }
    descend(&search, index->root, DIM_SECTION);
    if (!search.best.rule) {
        file_rule(index, rule, families);
    }
    return search.best.rule;
}
