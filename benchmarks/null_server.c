/* An object store that does as little as possible, so that a benchmark measures the client.

   It keeps objects in memory, checks no signature and computes no digest while it is timed: the
   answer to a PUT carries an ETag that is no MD5; the MD5 that GET and LIST answer is computed
   once, on the first HEAD or GET of an object. One thread serves one connection.

   usage: null_server PORT [DELAY_US]       DELAY_US is slept before each answer */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS (1 << 17)
#define MAX_PARTS 10001
#define HEAD_SIZE 32768

typedef struct { char *data; size_t size; } Segment;
typedef struct Object {
    char *key; /* bucket/key, decoded */
    Segment *segments;
    int count, users, gone;
    size_t size;
    char etag[40];
    int hashed;
    struct Object *next;
} Object;
typedef struct { char *key; Segment parts[MAX_PARTS]; } Upload;

static Object *table[SLOTS];
static size_t object_count;
static Object **sorted;
static int dirty = 1;
static Upload *uploads[4096];
static int upload_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static useconds_t delay;

/* ---- MD5 (RFC 1321) */
static void md5(const Object *object, char *hex) {
    static const uint32_t k[64] = {
        0xd76aa478,0xe8c7b756,0x242070db,0xc1bdceee,0xf57c0faf,0x4787c62a,0xa8304613,0xfd469501,
        0x698098d8,0x8b44f7af,0xffff5bb1,0x895cd7be,0x6b901122,0xfd987193,0xa679438e,0x49b40821,
        0xf61e2562,0xc040b340,0x265e5a51,0xe9b6c7aa,0xd62f105d,0x02441453,0xd8a1e681,0xe7d3fbc8,
        0x21e1cde6,0xc33707d6,0xf4d50d87,0x455a14ed,0xa9e3e905,0xfcefa3f8,0x676f02d9,0x8d2a4c8a,
        0xfffa3942,0x8771f681,0x6d9d6122,0xfde5380c,0xa4beea44,0x4bdecfa9,0xf6bb4b60,0xbebfbc70,
        0x289b7ec6,0xeaa127fa,0xd4ef3085,0x04881d05,0xd9d4d039,0xe6db99e5,0x1fa27cf8,0xc4ac5665,
        0xf4292244,0x432aff97,0xab9423a7,0xfc93a039,0x655b59c3,0x8f0ccc92,0xffeff47d,0x85845dd1,
        0x6fa87e4f,0xfe2ce6e0,0xa3014314,0x4e0811a1,0xf7537e82,0xbd3af235,0x2ad7d2bb,0xeb86d391};
    static const int r[16] = {7,12,17,22,5,9,14,20,4,11,16,23,6,10,15,21};
    uint32_t s[4] = {0x67452301,0xefcdab89,0x98badcfe,0x10325476};
    unsigned char block[64];
    size_t fill = 0, total = object->size, padded = ((total + 8) / 64 + 1) * 64, at = 0;
    int segment = 0;
    size_t inside = 0;
    while (at < padded) {
        unsigned char byte;
        const unsigned char *chunk = block;
        while (segment < object->count && inside == object->segments[segment].size)
            segment++, inside = 0;
        if (!fill && segment < object->count && object->segments[segment].size - inside >= 64) {
            chunk = (unsigned char *)object->segments[segment].data + inside;
            inside += 64; at += 64;
        } else {
            if (at < total) byte = object->segments[segment].data[inside++];
            else if (at == total) byte = 0x80;
            else if (at >= padded - 8) byte = (uint64_t)total * 8 >> 8 * (at - (padded - 8));
            else byte = 0;
            block[fill++] = byte; at++;
            if (fill < 64) continue;
            fill = 0;
        }
        uint32_t w[16], a = s[0], b = s[1], c = s[2], d = s[3];
        memcpy(w, chunk, 64);
        for (int i = 0; i < 64; i++) {
            uint32_t f; int g;
            if (i < 16) f = (b & c) | (~b & d), g = i;
            else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) & 15;
            else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) & 15;
            else f = c ^ (b | ~d), g = (7 * i) & 15;
            f += a + k[i] + w[g]; a = d; d = c; c = b;
            int turn = r[(i >> 4) * 4 + (i & 3)];
            b += f << turn | f >> (32 - turn);
        }
        s[0] += a; s[1] += b; s[2] += c; s[3] += d;
    }
    for (int i = 0; i < 16; i++) sprintf(hex + 2 * i, "%02x", (s[i / 4] >> 8 * (i % 4)) & 255);
}

/* ---- objects; `lock` is held */
static uint32_t hash(const char *text) {
    uint32_t h = 2166136261u;
    while (*text) h = (h ^ (unsigned char)*text++) * 16777619u;
    return h & (SLOTS - 1);
}
static Object *find(const char *key) {
    for (Object *o = table[hash(key)]; o; o = o->next) if (!strcmp(o->key, key)) return o;
    return NULL;
}
static void release(Object *o) {
    if (o->users || !o->gone) return;
    for (int i = 0; i < o->count; i++) free(o->segments[i].data);
    free(o->segments); free(o->key); free(o);
}
static void forget(const char *key) {
    for (Object **p = &table[hash(key)]; *p; p = &(*p)->next) {
        if (strcmp((*p)->key, key)) continue;
        Object *o = *p;
        *p = o->next; o->gone = 1; object_count--; dirty = 1;
        release(o);
        return;
    }
}
static Object *store(const char *key, Segment *segments, int count) {
    static unsigned serial;
    forget(key);
    Object *o = calloc(1, sizeof *o);
    o->key = strdup(key); o->segments = segments; o->count = count;
    for (int i = 0; i < count; i++) o->size += segments[i].size;
    sprintf(o->etag, "%032x-1", ++serial);
    Object **slot = &table[hash(key)];
    o->next = *slot; *slot = o; object_count++; dirty = 1;
    return o;
}
static int by_key(const void *a, const void *b) {
    return strcmp((*(Object *const *)a)->key, (*(Object *const *)b)->key);
}
static void sort_objects(void) {
    if (!dirty) return;
    sorted = realloc(sorted, (object_count + 1) * sizeof *sorted);
    size_t n = 0;
    for (int i = 0; i < SLOTS; i++) for (Object *o = table[i]; o; o = o->next) sorted[n++] = o;
    qsort(sorted, n, sizeof *sorted, by_key);
    dirty = 0;
}

/* ---- text */
static void unquote(char *to, const char *from, size_t size) {
    size_t n = 0;
    for (; *from && n + 1 < size; from++) {
        int c = *from;
        if (c == '%' && isxdigit(from[1]) && isxdigit(from[2])) {
            char two[3] = {from[1], from[2], 0};
            c = strtol(two, NULL, 16); from += 2;
        }
        to[n++] = c;
    }
    to[n] = 0;
}
static int argument(const char *query, const char *name, char *value, size_t size) {
    size_t length = strlen(name);
    for (const char *p = query; p && *p; p = strchr(p, '&'), p = p ? p + 1 : NULL) {
        if (strncmp(p, name, length) || (p[length] && p[length] != '=' && p[length] != '&'))
            continue;
        char raw[4096] = "";
        if (p[length] == '=') snprintf(raw, sizeof raw, "%.*s", (int)strcspn(p + length + 1, "&"),
                                       p + length + 1);
        if (value) unquote(value, raw, size);
        return 1;
    }
    return 0;
}
static const char *header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (!strncasecmp(p, name, length) && p[length] == ':') {
            p += length + 1;
            while (*p == ' ') p++;
            return p;
        }
    }
    return NULL;
}

/* ---- the wire */
typedef struct { int fd; char head[HEAD_SIZE + 1]; size_t have; } Wire;

static int send_all(int fd, struct iovec *v, int n) {
    while (n) {
        ssize_t done = writev(fd, v, n > 1000 ? 1000 : n);
        if (done <= 0) return 0;
        while (n && (size_t)done >= v->iov_len) done -= v->iov_len, v++, n--;
        if (n) v->iov_base = (char *)v->iov_base + done, v->iov_len -= done;
    }
    return 1;
}
static int reply(int fd, const char *status, const char *more, const char *body, size_t size) {
    char head[1024];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                     size, more);
    struct iovec v[2] = {{head, n}, {(char *)body, size}};
    return send_all(fd, v, size ? 2 : 1);
}
static const char *const DATE = "Last-Modified: Fri, 20 Nov 2026 10:11:12 GMT\r\n";

static int serve_object(Wire *w, Object *o, int head_only) {
    if (!o->hashed) {
        if (o->count == 1) md5(o, o->etag);
        o->hashed = 1;
    }
    size_t first = 0, last = o->size ? o->size - 1 : 0, length = o->size;
    const char *range = header(w->head, "range");
    char text[1024];
    int part = 0;
    if (range && !strncmp(range, "bytes=", 6) && isdigit(range[6])) {
        char *end;
        first = strtoull(range + 6, &end, 10);
        if (*end == '-' && isdigit(end[1])) {
            size_t asked = strtoull(end + 1, NULL, 10);
            if (asked < last) last = asked;
        }
        if (first >= o->size) return reply(w->fd, "416 Range", "", NULL, 0);
        length = last - first + 1;
        part = 1;
    }
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %s\r\nContent-Length: %zu\r\nETag: \"%s\"\r\n%s"
                     "Content-Type: application/octet-stream\r\n",
                     part ? "206 Partial Content" : "200 OK", length, o->etag, DATE);
    if (part) n += sprintf(text + n, "Content-Range: bytes %zu-%zu/%zu\r\n", first, last, o->size);
    n += sprintf(text + n, "\r\n");
    struct iovec *v = malloc((o->count + 1) * sizeof *v);
    int count = 1;
    v[0] = (struct iovec){text, n};
    for (int i = 0; i < o->count && !head_only && length; i++) {
        Segment s = o->segments[i];
        if (first >= s.size) { first -= s.size; continue; }
        size_t take = s.size - first < length ? s.size - first : length;
        v[count++] = (struct iovec){s.data + first, take};
        first = 0; length -= take;
    }
    int ok = send_all(w->fd, v, count);
    free(v);
    return ok;
}

static int serve_list(Wire *w, const char *bucket, const char *query) {
    char prefix[4096] = "", after[4096] = "", delimiter[16] = "", most[32] = "1000", name[4096];
    int v2 = argument(query, "list-type", NULL, 0);
    argument(query, "prefix", prefix, sizeof prefix);
    argument(query, "delimiter", delimiter, sizeof delimiter);
    argument(query, "max-keys", most, sizeof most);
    argument(query, v2 ? "continuation-token" : "marker", after, sizeof after);
    if (v2 && !*after) argument(query, "start-after", after, sizeof after);
    long limit = atol(most), count = 0;
    size_t base = snprintf(name, sizeof name, "%s/", bucket), plen = strlen(prefix);
    snprintf(name + base, sizeof name - base, "%s", prefix);
    char *out = malloc(2000 * 600 + 65536), group[4096] = "", last[4096] = "";
    size_t n = sprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns="
                       "\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>%s</Name>", bucket);
    int truncated = 0;
    pthread_mutex_lock(&lock);
    sort_objects();
    size_t low = 0, high = object_count;
    char begin[8192];
    snprintf(begin, sizeof begin, "%s/%s", bucket, strcmp(after, prefix) > 0 ? after : prefix);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(sorted[middle]->key, begin) < 0) low = middle + 1; else high = middle;
    }
    for (size_t i = low; i < object_count; i++) {
        Object *o = sorted[i];
        if (strncmp(o->key, name, base + plen)) break;
        const char *key = o->key + base;
        const char *stop = *delimiter ? strstr(key + plen, delimiter) : NULL;
        char this[4096];
        snprintf(this, sizeof this, "%.*s", stop ? (int)(stop - key + 1) : 4095, key);
        if (*after && strcmp(this, after) <= 0) continue;
        if (stop && !strcmp(this, group)) continue;
        if (count == limit) { truncated = 1; break; }
        count++;
        strcpy(last, this);
        if (stop) {
            strcpy(group, this);
            n += sprintf(out + n, "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>", this);
        } else {
            n += sprintf(out + n, "<Contents><Key>%s</Key><LastModified>2026-11-20T10:11:12.000Z"
                         "</LastModified><ETag>&quot;%s&quot;</ETag><Size>%zu</Size>"
                         "<StorageClass>STANDARD</StorageClass></Contents>",
                         key, o->etag, o->size);
        }
    }
    pthread_mutex_unlock(&lock);
    n += sprintf(out + n, "<Prefix>%s</Prefix><KeyCount>%ld</KeyCount><MaxKeys>%ld</MaxKeys>"
                 "<IsTruncated>%s</IsTruncated>", prefix, count, limit,
                 truncated ? "true" : "false");
    if (argument(query, "encoding-type", NULL, 0))
        n += sprintf(out + n, "<EncodingType>url</EncodingType>");
    if (truncated)
        n += sprintf(out + n, v2 ? "<NextContinuationToken>%s</NextContinuationToken>"
                                 : "<NextMarker>%s</NextMarker>", last);
    n += sprintf(out + n, "</ListBucketResult>");
    int ok = reply(w->fd, "200 OK", "Content-Type: application/xml\r\n", out, n);
    free(out);
    return ok;
}

static int serve_post(Wire *w, const char *path, const char *query, char *body) {
    char out[4096], id[64];
    if (argument(query, "delete", NULL, 0)) {
        pthread_mutex_lock(&lock);
        for (char *p = body; p && (p = strstr(p, "<Key>")); ) {
            char key[4096];
            p += 5;
            snprintf(key, sizeof key, "%s%s%.*s", path, strchr(path, '/') ? "" : "/",
                     (int)strcspn(p, "<"), p);
            forget(key);
        }
        pthread_mutex_unlock(&lock);
        int n = sprintf(out, "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>");
        return reply(w->fd, "200 OK", "Content-Type: application/xml\r\n", out, n);
    }
    if (argument(query, "uploads", NULL, 0)) {
        pthread_mutex_lock(&lock);
        int number = upload_count++ % 4096;
        uploads[number] = calloc(1, sizeof(Upload));
        uploads[number]->key = strdup(path);
        pthread_mutex_unlock(&lock);
        int n = snprintf(out, sizeof out, "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k"
                         "</Key><UploadId>%d</UploadId></InitiateMultipartUploadResult>", number);
        return reply(w->fd, "200 OK", "Content-Type: application/xml\r\n", out, n);
    }
    if (argument(query, "uploadId", id, sizeof id)) {
        pthread_mutex_lock(&lock);
        Upload *u = uploads[atoi(id) & 4095];
        Segment *segments = malloc(MAX_PARTS * sizeof *segments);
        int count = 0;
        for (int i = 0; i < MAX_PARTS; i++) if (u->parts[i].data) segments[count++] = u->parts[i];
        Object *o = store(path, segments, count);
        int n = snprintf(out, sizeof out, "<CompleteMultipartUploadResult><ETag>&quot;%s&quot;"
                         "</ETag></CompleteMultipartUploadResult>", o->etag);
        free(u->key); free(u); uploads[atoi(id) & 4095] = NULL;
        pthread_mutex_unlock(&lock);
        return reply(w->fd, "200 OK", "Content-Type: application/xml\r\n", out, n);
    }
    return reply(w->fd, "405 No", "", NULL, 0);
}

static int serve(Wire *w) {
    char *end;
    while (!(end = memmem(w->head, w->have, "\r\n\r\n", 4))) {
        ssize_t got = w->have < HEAD_SIZE ? read(w->fd, w->head + w->have, HEAD_SIZE - w->have) : 0;
        if (got <= 0) return 0;
        w->have += got;
    }
    *end = 0;
    size_t used = end + 4 - w->head;
    char method[16], target[8192], raw[8192], path[8192];
    if (sscanf(w->head, "%15s %8191s", method, target) != 2) return 0;
    char *query = strchr(target, '?');
    if (query) *query++ = 0; else query = target + strlen(target);
    snprintf(raw, sizeof raw, "%s", target + 1);
    unquote(path, raw, sizeof path);
    const char *length_text = header(w->head, "content-length");
    size_t size = length_text ? strtoull(length_text, NULL, 10) : 0;
    const char *expect = header(w->head, "expect");
    if (expect && w->have == used && write(w->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25)
        return 0;
    char *body = NULL;
    if (size) {
        body = malloc(size + 1);
        size_t have = w->have - used < size ? w->have - used : size;
        memcpy(body, w->head + used, have);
        used += have;
        while (have < size) {
            ssize_t got = recv(w->fd, body + have, size - have, MSG_WAITALL);
            if (got <= 0) { free(body); return 0; }
            have += got;
        }
        body[size] = 0;
    }
    if (delay) usleep(delay);
    int ok, keep = 0;
    char *slash = strchr(path, '/');
    int is_object = slash && slash[1];
    if (!strcmp(method, "PUT") && is_object) {
        char id[64], number[64], more[128];
        Segment s = {body ? body : malloc(1), size};
        keep = 1;
        pthread_mutex_lock(&lock);
        if (argument(query, "uploadId", id, sizeof id) &&
            argument(query, "partNumber", number, sizeof number)) {
            uploads[atoi(id) & 4095]->parts[atoi(number) % MAX_PARTS] = s;
            snprintf(more, sizeof more, "ETag: \"%032x-1\"\r\n", atoi(number));
        } else {
            Segment *one = malloc(sizeof *one);
            *one = s;
            snprintf(more, sizeof more, "ETag: \"%s\"\r\n", store(path, one, 1)->etag);
        }
        pthread_mutex_unlock(&lock);
        ok = reply(w->fd, "200 OK", more, NULL, 0);
    } else if (!strcmp(method, "POST")) {
        ok = serve_post(w, path, query, body);
    } else if (!strcmp(method, "DELETE")) {
        pthread_mutex_lock(&lock);
        forget(path);
        pthread_mutex_unlock(&lock);
        ok = reply(w->fd, "204 No Content", "", NULL, 0);
    } else if (is_object) {
        pthread_mutex_lock(&lock);
        Object *o = find(path);
        if (o) o->users++;
        pthread_mutex_unlock(&lock);
        if (o) {
            ok = serve_object(w, o, !strcmp(method, "HEAD"));
            pthread_mutex_lock(&lock);
            o->users--;
            release(o);
            pthread_mutex_unlock(&lock);
        } else if (!strcmp(method, "HEAD")) {
            ok = reply(w->fd, "404 Not Found", "", NULL, 0);
        } else {
            const char *text = "<Error><Code>NoSuchKey</Code></Error>";
            ok = reply(w->fd, "404 Not Found", "", text, strlen(text));
        }
    } else if (!strcmp(method, "HEAD")) {
        ok = reply(w->fd, "200 OK", "", NULL, 0);
    } else if (argument(query, "location", NULL, 0) || !*path) {
        const char *text = *path ? "<LocationConstraint>us-east-1</LocationConstraint>"
                                 : "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>";
        ok = reply(w->fd, "200 OK", "Content-Type: application/xml\r\n", text, strlen(text));
    } else {
        if (slash) *slash = 0;
        ok = serve_list(w, path, query);
    }
    if (!keep) free(body);
    memmove(w->head, w->head + used, w->have - used);
    w->have -= used;
    return ok;
}

static void *connection(void *argument_) {
    Wire *w = argument_;
    while (serve(w)) {}
    close(w->fd);
    free(w);
    return NULL;
}

int main(int argc, char **argv) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    delay = argc > 2 ? atoi(argv[2]) : 0;
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 512)) return 1;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        Wire *w = calloc(1, sizeof *w);
        w->fd = accept(listener, NULL, NULL);
        if (w->fd < 0) { free(w); continue; }
        setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        pthread_t thread;
        if (pthread_create(&thread, &small, connection, w)) { close(w->fd); free(w); }
    }
}
