"""Reports: tables for the gradebook and pages for students and instructors."""
