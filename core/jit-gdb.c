/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gdb's JIT interface (GDB manual, chapter "JIT Compilation Interface"): a list of object files in
 * memory, which gdb reads whenever it is attached and a function of a certain name is called.
 *
 * Here each block is an object file of its own:
 *
 *   .text     no bytes, but the address and size of the block's code
 *   .symtab   one function, guest_XXXXXXXX
 *
 * The interface wants its two symbols in the whole process, so the list has a lock of its own.
 */
#include "jit.h"

#include <elf.h>
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

/* Under the lock. */
static void
tell (Action action, Entry *entry)
{
  __jit_debug_descriptor.action = action;
  __jit_debug_descriptor.relevant = entry;
  __jit_debug_register_code ();
  __jit_debug_descriptor.action = NO_ACTION;
}

/* ---- The object file ---- */

enum { NONE, TEXT, SYMTAB, STRTAB, SHSTRTAB, SECTIONS };

/* ORDER: the enumeration */
static const char section_names[] = "\0.text\0.symtab\0.strtab\0.shstrtab";
static const uint8_t name_at[SECTIONS] = { 0, 1, 7, 15, 23 };

typedef struct {
  Elf64_Ehdr header;
  Elf64_Shdr sections[SECTIONS];
  Elf64_Sym symbols[2];
  char strings[16], names[sizeof section_names];
} Object;

typedef struct Node Node;
struct Node {
  Entry entry;
  Node *next; /* of the same processor */
  Object object;
};

struct TnJitGdb {
  Node *nodes;
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
fill (Object *o, const VmmTranslation *t)
{
  fill_header (o);
  g_snprintf (o->strings + 1, sizeof o->strings - 1, "guest_%08x", t->linear);
  memcpy (o->names, section_names, sizeof section_names);
  fill_section (o, TEXT, SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, o->symbols, t->straight);
  o->sections[TEXT].sh_addr = (uintptr_t) t->code;
  fill_section (o, SYMTAB, SHT_SYMTAB, 0, o->symbols, sizeof o->symbols);
  o->sections[SYMTAB].sh_link = STRTAB;
  o->sections[SYMTAB].sh_info = 1; /* the first that is not local */
  o->sections[SYMTAB].sh_entsize = sizeof o->symbols[0];
  fill_section (o, STRTAB, SHT_STRTAB, 0, o->strings, sizeof o->strings);
  fill_section (o, SHSTRTAB, SHT_STRTAB, 0, o->names, sizeof o->names);
  o->symbols[1] = (Elf64_Sym){ .st_name = 1,
                               .st_info = ELF64_ST_INFO (STB_GLOBAL, STT_FUNC),
                               .st_shndx = TEXT,
                               .st_value = (uintptr_t) t->code,
                               .st_size = t->straight };
}

/* ---- Blocks come and go ---- */

TnJitGdb *
tn_jit_gdb_new (void)
{
  return g_new0 (TnJitGdb, 1);
}

void
tn_jit_gdb_add (TnJitGdb *gdb, const VmmTranslation *t)
{
  Node *node = g_new0 (Node, 1);
  Entry *entry = &node->entry;

  fill (&node->object, t);
  entry->symfile = (const char *) &node->object;
  entry->symfile_size = sizeof node->object;
  node->next = gdb->nodes;
  gdb->nodes = node;
  g_mutex_lock (&list_lock);
  entry->next = __jit_debug_descriptor.first;
  if (entry->next)
    entry->next->previous = entry;
  __jit_debug_descriptor.first = entry;
  tell (REGISTER, entry);
  g_mutex_unlock (&list_lock);
}

void
tn_jit_gdb_forget (TnJitGdb *gdb)
{
  g_mutex_lock (&list_lock);
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
