skein_fuzz(report_run SOURCES fuzz_report_run.c LIBS chaos_report)
