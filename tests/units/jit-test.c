/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What gdb would read of translated code: few object files, each block a symbol in one of them. */
#include "../../core/jit-gdb.c"

#define CODE 0x40000000u
#define SIZE 100u

static void
add (TnJitGdb *gdb, unsigned first, unsigned count)
{
  VmmTranslation *t = g_new0 (VmmTranslation, 1);

  for (unsigned n = first; n < first + count; n++)
    {
      t->linear = 0xc0000000u + n;
      t->code = GSIZE_TO_POINTER (CODE + n * SIZE);
      t->straight = t->size = SIZE;
      tn_jit_gdb_add (gdb, t);
    }
  g_free (t);
}

/* The symbols of an object, from block `first` on; how many there are. */
static unsigned
check_object (const Entry *entry, unsigned first)
{
  const char *file = entry->symfile;
  const Elf64_Ehdr *header = (const Elf64_Ehdr *) file;
  const Elf64_Shdr *sections = (const Elf64_Shdr *) (file + header->e_shoff);
  const Elf64_Shdr *text = &sections[TEXT], *table = &sections[SYMTAB];
  const Elf64_Sym *symbols = (const Elf64_Sym *) (file + table->sh_offset);
  const char *strings = file + sections[table->sh_link].sh_offset;
  unsigned count = (unsigned) (table->sh_size / table->sh_entsize) - 1;

  g_assert_cmpmem (header->e_ident, SELFMAG, ELFMAG, SELFMAG);
  g_assert_cmpuint (table->sh_offset + table->sh_size, <=, entry->symfile_size);
  g_assert_cmphex (text->sh_addr, ==, CODE + first * SIZE);
  g_assert_cmpuint (text->sh_size, ==, count * SIZE);
  for (unsigned n = 0; n < count; n++)
    {
      const Elf64_Sym *symbol = &symbols[1 + n];
      g_autofree char *name = g_strdup_printf ("guest_%08x", 0xc0000000u + first + n);

      g_assert_cmpstr (strings + symbol->st_name, ==, name);
      g_assert_cmphex (symbol->st_value, ==, CODE + (first + n) * SIZE);
      g_assert_cmpuint (symbol->st_size, ==, SIZE);
    }
  return count;
}

/* The last object is the first in the list. */
static unsigned
check_all (unsigned blocks)
{
  const Entry *entry = __jit_debug_descriptor.first;
  unsigned objects = 0, found = 0;

  while (entry && entry->next)
    entry = entry->next;
  for (; entry; entry = entry->previous, objects++)
    found += check_object (entry, found);
  g_assert_cmpuint (found, ==, blocks);
  return objects;
}

static void
test_objects (void)
{
  TnJitGdb *gdb = tn_jit_gdb_new ();

  g_assert_cmpuint (check_all (0), ==, 0);
  add (gdb, 0, 1);
  g_assert_cmpuint (check_all (1), ==, 1);
  add (gdb, 1, BLOCKS - 1);
  g_assert_cmpuint (check_all (BLOCKS), ==, 1);
  add (gdb, BLOCKS, 2 * BLOCKS);
  g_assert_cmpuint (check_all (3 * BLOCKS), ==, 3);
  tn_jit_gdb_forget (gdb);
  g_assert_null (__jit_debug_descriptor.first);
  add (gdb, 0, 2);
  g_assert_cmpuint (check_all (2), ==, 1);
  tn_jit_gdb_free (gdb);
  g_assert_null (__jit_debug_descriptor.first);
}

/* Code that is not behind what is there is another object's: ranges do not overlap. */
static void
test_order (void)
{
  TnJitGdb *gdb = tn_jit_gdb_new ();

  add (gdb, 10, 5);
  add (gdb, 0, 5);
  check_object (__jit_debug_descriptor.first, 0);
  check_object (__jit_debug_descriptor.first->next, 10);
  g_assert_null (__jit_debug_descriptor.first->next->next);
  tn_jit_gdb_free (gdb);
}

/* gdb is told of what came since, once, and not when all has gone before. */
static void
test_time (void)
{
  TnJitGdb *gdb = tn_jit_gdb_new ();

  add (gdb, 0, 1);
  g_assert_cmpuint (gdb->timer, ==, 0);
  add (gdb, 1, 5);
  g_assert_cmpuint (gdb->timer, !=, 0);
  while (gdb->timer)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (check_all (6), ==, 1);
  g_assert_true (__jit_debug_descriptor.relevant == __jit_debug_descriptor.first);
  add (gdb, 6, 1);
  tn_jit_gdb_forget (gdb);
  g_assert_cmpuint (gdb->timer, ==, 0);
  tn_jit_gdb_free (gdb);
  g_assert_false (g_main_context_pending (NULL));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/jit/objects", test_objects);
  g_test_add_func ("/jit/order", test_order);
  g_test_add_func ("/jit/time", test_time);
  return g_test_run ();
}
