#include "admin/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

/* Samples of one family must stand together (exposition format 0.0.4, "Grouping and sorting"),
 * but sources speak of families in any order: so each family collects its own text first. */
struct rendering {
    struct metrics_output output;
    struct buf *families;
};

/* Label values: backslash, double quote and line feed are escaped; what is no UTF-8 is replaced. */
static void add_label_value(struct buf *b, struct view v)
{
    bool utf8 = view_is_utf8(v);

    buf_add_char(b, '"');
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (c == '\\' || c == '"') {
            buf_add_char(b, '\\');
            buf_add_char(b, c);
        } else if (c == '\n') {
            buf_add_str(b, "\\n");
        } else if (!utf8 && (unsigned char)c >= 0x80) {
            buf_add_char(b, '?');
        } else {
            buf_add_char(b, c);
        }
    }
    buf_add_char(b, '"');
}

/* name_suffix{label="value",…,le="bound"} and a blank; le NULL: none. */
static void add_series(struct buf *b, enum metric_family family, const char *suffix,
                       const struct view *values, size_t count, const char *le)
{
    const struct metric_description *d = &metric_descriptions[family];
    const char *before = "{";

    buf_add_str(b, d->name);
    buf_add_str(b, suffix);
    for (size_t i = 0; i < count; i++) {
        buf_add_str(b, before);
        buf_add_str(b, d->labels[i]);
        buf_add_char(b, '=');
        add_label_value(b, values[i]);
        before = ",";
    }
    if (le != NULL)
        buf_printf(b, "%sle=\"%s\"", before, le);
    buf_add_str(b, count > 0 || le != NULL ? "} " : " ");
}

/* Nanoseconds as seconds, exact, without trailing zeros: 100000 is 0.0001. */
static void format_seconds(uint64_t ns, char out[32])
{
    int len = snprintf(out, 32, "%llu.%09llu", (unsigned long long)(ns / 1000000000),
                       (unsigned long long)(ns % 1000000000));
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.')
        len--;
    out[len] = '\0';
}

static void add_histogram(struct buf *b, const struct metric_reading *r)
{
    uint64_t below = 0;
    char seconds[32];

    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        below += r->buckets[i];
        if (i < METRIC_BUCKETS - 1)
            format_seconds((uint64_t)metric_bucket_bounds_ns[i], seconds);
        add_series(b, r->family, "_bucket", r->values, r->value_count,
                   i < METRIC_BUCKETS - 1 ? seconds : "+Inf");
        buf_add_u64(b, below);
        buf_add_char(b, '\n');
    }
    format_seconds(r->sum_ns, seconds);
    add_series(b, r->family, "_sum", r->values, r->value_count, NULL);
    buf_add_str(b, seconds);
    buf_add_char(b, '\n');
    /* The buckets' own sum, so that count and +Inf agree whatever was written meanwhile. */
    add_series(b, r->family, "_count", r->values, r->value_count, NULL);
    buf_add_u64(b, below);
    buf_add_char(b, '\n');
}

static bool never_observed(const struct metric_reading *r)
{
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        if (r->buckets[i] != 0)
            return false;
    }
    return true;
}

static void add_reading(void *arg, const struct metric_reading *r)
{
    struct rendering *rendering = arg;
    struct buf *b = &rendering->families[r->family];

    if (metric_descriptions[r->family].kind == METRIC_HISTOGRAM) {
        /* Thousands of routes that nobody calls would be most of the text. */
        if (!never_observed(r))
            add_histogram(b, r);
        return;
    }
    add_series(b, r->family, "", r->values, r->value_count, NULL);
    buf_add_i64(b, r->value);
    buf_add_char(b, '\n');
}

static void add_number(struct buf *b, double value)
{
    if (isnan(value))
        buf_add_str(b, "NaN");
    else if (isinf(value))
        buf_add_str(b, value > 0 ? "+Inf" : "-Inf");
    else
        buf_printf(b, "%.17g", value);
}

static void add_sample(struct metrics_output *out, enum metric_family family,
                       const struct view *values, size_t count, double value)
{
    struct rendering *rendering = CONTAINER_OF(out, struct rendering, output);
    struct buf *b = &rendering->families[family];

    add_series(b, family, "", values, count, NULL);
    add_number(b, value);
    buf_add_char(b, '\n');
}

static const char *kind_name(enum metric_kind kind)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};
    return names[kind];
}

static void add_head(struct buf *out, const char *name, const char *help, enum metric_kind kind)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind_name(kind));
}

static void add_single(struct buf *out, const char *name, const char *help, enum metric_kind kind,
                       double value)
{
    add_head(out, name, help, kind);
    buf_printf(out, "%s ", name);
    add_number(out, value);
    buf_add_char(out, '\n');
}

/* The names of the process's own metrics are those that Prometheus's client libraries use. */

struct process_stat {
    double cpu_seconds;
    double start_seconds; /* since boot */
    double resident_bytes;
    double virtual_bytes;
    double threads;
};

/* /proc/self/stat, see proc(5): the command in parentheses is field 2, what follows it starts with
 * field 3 and holds no parenthesis. */
enum { STAT_UTIME = 14, STAT_STIME = 15, STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE = 23,
       STAT_RSS = 24 };

static bool read_process_stat(struct process_stat *out)
{
    char text[1024];
    uint64_t fields[STAT_RSS + 1] = {0};
    FILE *file = fopen("/proc/self/stat", "re");

    if (file == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    const char *command_end = memrchr(text, ')', len);
    if (command_end == NULL || command_end + 2 > text + len)
        return false;
    struct view rest = view_of(command_end + 2, len - (size_t)(command_end + 2 - text)), field;
    for (int i = 3; i <= STAT_RSS; i++) {
        rest = view_cut(rest, ' ', &field);
        /* Some fields are letters or negative: none of ours. */
        if (!view_to_u64(field, UINT64_MAX, &fields[i]))
            fields[i] = 0;
    }
    double tick = (double)sysconf(_SC_CLK_TCK);
    *out = (struct process_stat){
        .cpu_seconds = (double)(fields[STAT_UTIME] + fields[STAT_STIME]) / tick,
        .start_seconds = (double)fields[STAT_START] / tick,
        .resident_bytes = (double)fields[STAT_RSS] * (double)sysconf(_SC_PAGESIZE),
        .virtual_bytes = (double)fields[STAT_VSIZE],
        .threads = (double)fields[STAT_THREADS],
    };
    return true;
}

static double seconds_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int count_open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");

    if (dir == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.')
            count++;
    }
    closedir(dir);
    return count - 1; /* not the folder's own */
}

static void add_process(struct buf *out)
{
    struct process_stat stat;
    int files = count_open_files();

    add_head(out, "sallyport_build_info", "The version that runs.", METRIC_GAUGE);
    buf_add_str(out, "sallyport_build_info{version=\"" SALLYPORT_VERSION "\"} 1\n");
    if (read_process_stat(&stat)) {
        double booted = seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME);
        add_single(out, "process_cpu_seconds_total", "User and system CPU time.", METRIC_COUNTER,
                   stat.cpu_seconds);
        add_single(out, "process_start_time_seconds", "Start of the process since the epoch.",
                   METRIC_GAUGE, booted + stat.start_seconds);
        add_single(out, "process_resident_memory_bytes", "Resident memory.", METRIC_GAUGE,
                   stat.resident_bytes);
        add_single(out, "process_virtual_memory_bytes", "Virtual memory.", METRIC_GAUGE,
                   stat.virtual_bytes);
        add_single(out, "process_threads", "Threads.", METRIC_GAUGE, stat.threads);
    }
    if (files >= 0)
        add_single(out, "process_open_fds", "Open file descriptors.", METRIC_GAUGE, files);
    long max_files = sysconf(_SC_OPEN_MAX);
    if (max_files > 0)
        add_single(out, "process_max_fds", "How many may be open.", METRIC_GAUGE,
                   (double)max_files);
}

void metrics_render(struct metrics *m, struct buf *out)
{
    struct buf families[METRIC_FAMILIES];
    struct rendering rendering = {.output = {add_sample}, .families = families};

    for (size_t i = 0; i < METRIC_FAMILIES; i++)
        buf_init(&families[i], out->max);
    metrics_read(m, add_reading, &rendering);
    metrics_collect(m, &rendering.output);
    for (size_t i = 0; i < METRIC_FAMILIES; i++) {
        const struct metric_description *d = &metric_descriptions[i];
        out->failed |= buf_failed(&families[i]);
        if (families[i].len > 0) {
            add_head(out, d->name, d->help, d->kind);
            buf_add_view(out, buf_view(&families[i]));
        }
        buf_clear(&families[i]);
    }
    add_single(out, "sallyport_metrics_refused_total", "Series that found no room.",
               METRIC_COUNTER, (double)metrics_refused(m));
    add_process(out);
}
