/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gdb's JIT interface (GDB manual, chapter "JIT Compilation Interface"): a list of object files in
 * memory, which gdb reads when it is attached, and whenever a function of a certain name is called.
 *
 * gdb stops the process at each of these calls, so some ten thousand blocks share an object file:
 *
 *   .text     no bytes, but the address and size of the code from the first block to the last
 *   .symtab   a function for each, guest_XXXXXXXX
 *
 * A block is written to the last object, which is in the list already: a gdb that is attached later
 * finds it there.  A gdb that is attached now is told every TELL_MS that this object has gone and
 * come again, so that it knows all blocks but the very last ones.  Code is only added, behind what
 * is there, so the objects' ranges do not overlap.
 *
 * The interface wants its two symbols in the whole process, so the list has a lock of its own.
 */
#include "jit.h"

#include <elf.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* ---- The interface; names and layout are gdb's ---- */

typedef struct Entry Entry;
struct Entry {
  Entry *next, *previous;
  const char *symfile;
  uint64_t symfile_size;
};

typedef enum { NO_ACTION, REGISTER, UNREGISTER } Action;

typedef struct {
  uint32_t version;
  uint32_t action;
  Entry *relevant, *first;
} Descriptor;

#define EXPORT __attribute__ ((visibility ("default"), used))

extern Descriptor __jit_debug_descriptor;
void __jit_debug_register_code (void);

EXPORT Descriptor __jit_debug_descriptor = { .version = 1 };

/* gdb has a breakpoint here. */
EXPORT __attribute__ ((noinline)) void
__jit_debug_register_code (void)
{
  __asm__ volatile("" ::: "memory");
}

static GMutex list_lock;

/* Under the lock.  gdb takes longer than the processor's timer, whose signal would be handled
 * before the instruction that gdb has stopped at, which would stop there again and again: so no
 * signals. */
static void
tell (Action action, Entry *entry)
{
  sigset_t most, before;

  sigfillset (&most);
  sigdelset (&most, SIGTRAP);
  pthread_sigmask (SIG_BLOCK, &most, &before);
  __jit_debug_descriptor.action = action;
  __jit_debug_descriptor.relevant = entry;
  __jit_debug_register_code ();
  __jit_debug_descriptor.action = NO_ACTION;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
}

/* ---- The object file ---- */

enum { NONE, TEXT, SYMTAB, STRTAB, SHSTRTAB, SECTIONS };

/* ORDER: the enumeration */
static const char section_names[] = "\0.text\0.symtab\0.strtab\0.shstrtab";
static const uint8_t name_at[SECTIONS] = { 0, 1, 7, 15, 23 };

#define BLOCKS 8192u
#define NAME_SIZE sizeof "guest_01234567"
#define TELL_MS 500

typedef struct {
  Elf64_Ehdr header;
  Elf64_Shdr sections[SECTIONS];
  Elf64_Sym symbols[1 + BLOCKS];
  char names[sizeof section_names];
  char strings[1 + BLOCKS * NAME_SIZE];
} Object;

typedef struct Node Node;
struct Node {
  Entry entry;
  Node *next; /* of the same processor, made before */
  uint32_t count;
  uint64_t end; /* of the last block's code */
  Object object;
};

/* Under list_lock. */
struct TnJitGdb {
  Node *nodes;
  guint timer; /* gdb has not been told of all blocks of the first node; or 0 */
};

static void
fill_section (Object *o, unsigned n, unsigned type, uint64_t flags, const void *data, size_t size)
{
  o->sections[n] = (Elf64_Shdr){ .sh_name = name_at[n],
                                 .sh_type = type,
                                 .sh_flags = flags,
                                 .sh_offset = (size_t) ((const char *) data - (const char *) o),
                                 .sh_size = size,
                                 .sh_addralign = 1 };
}

static void
fill_header (Object *o)
{
  o->header = (Elf64_Ehdr){ .e_type = ET_EXEC,
                            .e_machine = EM_X86_64,
                            .e_version = EV_CURRENT,
                            .e_shoff = offsetof (Object, sections),
                            .e_ehsize = sizeof o->header,
                            .e_shentsize = sizeof o->sections[0],
                            .e_shnum = SECTIONS,
                            .e_shstrndx = SHSTRTAB };
  memcpy (o->header.e_ident, ELFMAG, SELFMAG);
  o->header.e_ident[EI_CLASS] = ELFCLASS64;
  o->header.e_ident[EI_DATA] = ELFDATA2LSB;
  o->header.e_ident[EI_VERSION] = EV_CURRENT;
}

static void
fill (Object *o)
{
  fill_header (o);
  memcpy (o->names, section_names, sizeof section_names);
  fill_section (o, TEXT, SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, o->symbols, 0);
  fill_section (o, SYMTAB, SHT_SYMTAB, 0, o->symbols, sizeof o->symbols[0]);
  o->sections[SYMTAB].sh_link = STRTAB;
  o->sections[SYMTAB].sh_info = 1; /* the first that is not local */
  o->sections[SYMTAB].sh_entsize = sizeof o->symbols[0];
  fill_section (o, STRTAB, SHT_STRTAB, 0, o->strings, sizeof o->strings);
  fill_section (o, SHSTRTAB, SHT_STRTAB, 0, o->names, sizeof o->names);
}

/* gdb may stop the process between any two stores, so what counts the symbols comes last. */
static void
add_symbol (Node *node, const VmmTranslation *t)
{
  Object *o = &node->object;
  size_t at = 1 + node->count * NAME_SIZE;

  node->count++;
  node->end = (uintptr_t) t->code + t->straight;
  g_snprintf (o->strings + at, NAME_SIZE, "guest_%08x", t->linear);
  o->symbols[node->count] = (Elf64_Sym){ .st_name = (Elf64_Word) at,
                                         .st_info = ELF64_ST_INFO (STB_GLOBAL, STT_FUNC),
                                         .st_shndx = TEXT,
                                         .st_value = (uintptr_t) t->code,
                                         .st_size = t->straight };
  if (node->count == 1)
    o->sections[TEXT].sh_addr = (uintptr_t) t->code;
  o->sections[TEXT].sh_size = node->end - o->sections[TEXT].sh_addr;
  __asm__ volatile("" ::: "memory");
  o->sections[SYMTAB].sh_size = (1 + node->count) * sizeof o->symbols[0];
}

/* ---- Blocks come and go ---- */

TnJitGdb *
tn_jit_gdb_new (void)
{
  return g_new0 (TnJitGdb, 1);
}

static void
add_node (TnJitGdb *gdb, const VmmTranslation *t)
{
  Node *node = g_new0 (Node, 1);
  Entry *entry = &node->entry;

  fill (&node->object);
  add_symbol (node, t);
  entry->symfile = (const char *) &node->object;
  entry->symfile_size = sizeof node->object;
  node->next = gdb->nodes;
  gdb->nodes = node;
  entry->next = __jit_debug_descriptor.first;
  if (entry->next)
    entry->next->previous = entry;
  __jit_debug_descriptor.first = entry;
  tell (REGISTER, entry);
}

static void
tell_again (TnJitGdb *gdb)
{
  gdb->timer = 0;
  tell (UNREGISTER, &gdb->nodes->entry);
  tell (REGISTER, &gdb->nodes->entry);
}

static gboolean
time_to_tell (void *data)
{
  TnJitGdb *gdb = data;

  g_mutex_lock (&list_lock);
  if (gdb->timer == g_source_get_id (g_main_current_source ())) /* else stopped as it came */
    tell_again (gdb);
  g_mutex_unlock (&list_lock);
  return G_SOURCE_REMOVE;
}

/* Under the lock. */
static void
stop_timer (TnJitGdb *gdb)
{
  if (gdb->timer)
    g_source_remove (gdb->timer);
  gdb->timer = 0;
}

void
tn_jit_gdb_add (TnJitGdb *gdb, const VmmTranslation *t)
{
  Node *node;

  g_mutex_lock (&list_lock);
  node = gdb->nodes;
  if (node && node->count < BLOCKS && (uintptr_t) t->code >= node->end)
    {
      add_symbol (node, t);
      if (!gdb->timer)
        gdb->timer = g_timeout_add (TELL_MS, time_to_tell, gdb);
    }
  else
    {
      if (gdb->timer)
        {
          stop_timer (gdb);
          tell_again (gdb);
        }
      add_node (gdb, t);
    }
  g_mutex_unlock (&list_lock);
}

void
tn_jit_gdb_forget (TnJitGdb *gdb)
{
  g_mutex_lock (&list_lock);
  stop_timer (gdb);
  while (gdb->nodes)
    {
      Node *node = gdb->nodes;
      Entry *entry = &node->entry;

      if (entry->previous)
        entry->previous->next = entry->next;
      else
        __jit_debug_descriptor.first = entry->next;
      if (entry->next)
        entry->next->previous = entry->previous;
      tell (UNREGISTER, entry);
      gdb->nodes = node->next;
      g_free (node);
    }
  g_mutex_unlock (&list_lock);
}

void
tn_jit_gdb_free (TnJitGdb *gdb)
{
  if (!gdb)
    return;
  tn_jit_gdb_forget (gdb);
  g_free (gdb);
}
