/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jitdump, after the specification in the Linux sources
 * (tools/perf/Documentation/jitdump-specification.txt), version 1.
 *
 * A file jit-PID.dump of records, each with the time of CLOCK_MONOTONIC (so: perf record -k mono),
 * from which `perf inject --jit` makes an ELF file for each block.  perf finds it because a page of
 * it is mapped executable.  Beside it jit-PID.guest has the guest's instructions, one a line, and
 * the records name these lines as the source, so that perf annotate shows both.
 */
#include "jit.h"

#include "listing.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <tenon/device.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4a695444u
#define VERSION 1

typedef enum { CODE_LOAD = 0, CODE_DEBUG_INFO = 2, CODE_CLOSE = 3 } RecordKind;

typedef struct {
  uint32_t magic, version, size, machine, padding, pid;
  uint64_t time, flags;
} FileHeader;

typedef struct {
  uint32_t kind, size;
  uint64_t time;
} RecordHeader;

typedef struct {
  uint32_t pid, tid;
  uint64_t linear, address, size, index;
} CodeLoad;

typedef struct {
  uint64_t address, count;
} DebugInfo;

typedef struct {
  uint64_t address;
  int32_t line, discriminator;
} DebugLine;

struct TnJitDump {
  FILE *file, *guest;
  char *guest_name;
  void *marker; /* the page by which perf finds the file */
  size_t marker_size;
  uint64_t blocks;
  int32_t lines; /* of `guest` */
};

static uint64_t
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static FILE *
open_file (const char *name, GError **error)
{
  int fd = open (name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  FILE *file = fd >= 0 ? fdopen (fd, "w") : NULL;

  if (!file)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_IO, "cannot write %s: %s", name, g_strerror (errno));
      if (fd >= 0)
        close (fd);
    }
  return file;
}

static void
write_header (TnJitDump *dump)
{
  FileHeader header = { .magic = MAGIC,
                        .version = VERSION,
                        .size = sizeof header,
                        .machine = EM_X86_64,
                        .pid = getpid (),
                        .time = now () };

  fwrite (&header, sizeof header, 1, dump->file);
  fflush (dump->file);
}

TnJitDump *
tn_jit_dump_new (const char *directory, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (directory, NULL);
  g_autofree char *name = g_strdup_printf ("%s/jit-%d.dump", absolute, (int) getpid ());
  TnJitDump *dump = g_new0 (TnJitDump, 1);

  dump->guest_name = g_strdup_printf ("%s/jit-%d.guest", absolute, (int) getpid ());
  dump->file = open_file (name, error);
  dump->guest = dump->file ? open_file (dump->guest_name, error) : NULL;
  if (!dump->guest)
    {
      tn_jit_dump_free (dump);
      return NULL;
    }
  write_header (dump);
  dump->marker_size = sysconf (_SC_PAGESIZE);
  dump->marker
      = mmap (NULL, dump->marker_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno (dump->file), 0);
  if (dump->marker != MAP_FAILED)
    return dump;
  dump->marker = NULL;
  g_set_error (error, TN_ERROR, TN_ERROR_IO, "cannot map %s: %s", name, g_strerror (errno));
  tn_jit_dump_free (dump);
  return NULL;
}

static void
write_record (TnJitDump *dump, RecordKind kind, uint64_t time, const GByteArray *body)
{
  RecordHeader header = { kind, sizeof header + (body ? body->len : 0), time };

  fwrite (&header, sizeof header, 1, dump->file);
  if (body)
    fwrite (body->data, body->len, 1, dump->file);
}

static void
append (GByteArray *body, const void *data, size_t size)
{
  g_byte_array_append (body, data, size);
}

static void
add_line (TnJitDump *dump, GByteArray *body, const VmmTranslation *t, uint32_t offset,
          const char *text)
{
  DebugLine line = { (uintptr_t) t->code + offset, ++dump->lines, 0 };

  fprintf (dump->guest, "%s\n", text);
  append (body, &line, sizeof line);
  append (body, dump->guest_name, strlen (dump->guest_name) + 1);
}

/* Which host code is for which line of the guest's. */
static void
write_lines (TnJitDump *dump, const VmmTranslation *t, uint64_t time)
{
  g_autoptr (GByteArray) body = g_byte_array_new ();
  g_autoptr (GString) text = g_string_new (NULL);
  DebugInfo info = { (uintptr_t) t->code, t->count };
  uint32_t at = 0;

  append (body, &info, sizeof info);
  for (unsigned n = 0; n < t->count; n++)
    {
      g_string_printf (text, "%08x  ", t->linear + at);
      tn_listing_guest (t, n, at, text);
      add_line (dump, body, t, n ? t->insns[n].offset : 0, text->str);
      at += t->insns[n].length;
    }
  write_record (dump, CODE_DEBUG_INFO, time, body);
}

void
tn_jit_dump_add (TnJitDump *dump, const VmmTranslation *t)
{
  g_autoptr (GByteArray) body = g_byte_array_new ();
  g_autofree char *name = g_strdup_printf ("guest_%08x", t->linear);
  uint64_t time = now ();
  CodeLoad load = { .pid = getpid (),
                    .tid = syscall (SYS_gettid),
                    .linear = (uintptr_t) t->code,
                    .address = (uintptr_t) t->code,
                    .size = t->straight,
                    .index = ++dump->blocks };

  write_lines (dump, t, time);
  append (body, &load, sizeof load);
  append (body, name, strlen (name) + 1);
  append (body, t->code, t->straight);
  write_record (dump, CODE_LOAD, time, body);
}

void
tn_jit_dump_free (TnJitDump *dump)
{
  if (!dump)
    return;
  if (dump->marker)
    {
      write_record (dump, CODE_CLOSE, now (), NULL);
      munmap (dump->marker, dump->marker_size);
    }
  if (dump->file)
    fclose (dump->file);
  if (dump->guest)
    fclose (dump->guest);
  g_free (dump->guest_name);
  g_free (dump);
}
